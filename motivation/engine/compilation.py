"""The config's ``compile``: both models through torch.compile, each in place."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from motivation.errors import ConfigError, reason, shortened
from motivation.models import DualModel

# Where the exceptions of torch's compilers are defined.
_COMPILERS = ('torch._dynamo.', 'torch._inductor.', 'torch._functorch.')


def compile_models(model: DualModel, value: bool | dict[str, Any] | None) -> bool:
    """Compile both models as the config says.

    MMEngine compiles the whole training step instead, and with it the optimizer and what is logged.

    Args:
        model: The models.
        value: ``True``, or arguments of :func:`torch.compile`; ``None`` or ``False`` for not.

    Returns:
        Whether they are compiled.

    Raises:
        ConfigError: torch refuses an argument.
    """
    if value is None or value is False:
        return False
    with compilation_explained(value):
        model.compile(**({} if value is True else value))
    return True


@contextmanager
def compilation_explained(value: bool | dict[str, Any] | None) -> Iterator[None]:
    """Say in a sentence that a model does not compile, or that the machine lacks what compiling needs.

    Args:
        value: As of :func:`compile_models`.

    Raises:
        ConfigError: A compiler raised something.
    """
    try:
        yield
    except Exception as error:
        if not value or not type(error).__module__.startswith(_COMPILERS):
            raise
        raise ConfigError(
            f'compile is {shortened(value)}, and torch.compile fails: {reason(error)}; leave it out, or try another '
            "backend, such as compile=dict(backend='aot_eager')"
        ) from error
