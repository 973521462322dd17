"""Compiling both models with torch.compile."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from motivation.errors import ConfigError, reason, shortened
from motivation.models import DualModel

# Modules that define the exceptions of torch's compilers.
_COMPILERS = ('torch._dynamo.', 'torch._inductor.', 'torch._functorch.')


def compile_models(model: DualModel, value: bool | dict[str, Any] | None) -> bool:
    """Compile both models in place, as the config's ``compile`` asks.

    MMEngine would compile the whole training step, including the optimizer and logging.

    Args:
        model: The models.
        value: ``True`` or arguments of :func:`torch.compile` to compile, ``None`` or ``False`` not to.

    Returns:
        Whether the models are compiled.

    Raises:
        ConfigError: An argument of :func:`torch.compile` is invalid.
    """
    if value is None or value is False:
        return False
    try:
        model.compile(**({} if value is True else value))
    except Exception as error:  # torch checks arguments with exceptions of any type
        raise _explained(value, error) from error
    return True


@contextmanager
def compilation_explained(value: bool | dict[str, Any] | None) -> Iterator[None]:
    """Turn the exceptions of a compiler into a :class:`ConfigError`.

    Args:
        value: See :func:`compile_models`.

    Raises:
        ConfigError: Compiling failed.
    """
    try:
        yield
    except Exception as error:
        if not value or not type(error).__module__.startswith(_COMPILERS):
            raise
        raise _explained(value, error) from error


def _explained(value: bool | dict[str, Any], error: Exception) -> ConfigError:
    return ConfigError(
        f'compile is {shortened(value)}, and torch.compile fails: {reason(error)}; leave it out, or try another '
        "backend, such as compile=dict(backend='aot_eager')"
    )
