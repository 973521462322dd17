"""The optimizers of timm by name."""

from collections.abc import Iterable
from typing import Annotated, Any

import timm.optim
from annotated_types import Ge
from torch.optim import Optimizer

from motivation.errors import ArgumentError, near_matches, reason, shortened
from motivation.registry import OPTIMIZERS
from motivation.utils.arguments import arguments_of, check_arguments, checked

_LOOKAHEAD = 'lookahead_'


@OPTIMIZERS.register_module(name='TimmOptimizer')
@checked
def timm_optimizer(
    params: Iterable[Any],
    opt: str,
    lr: Annotated[float, Ge(0)] | None = None,
    weight_decay: Annotated[float, Ge(0)] = 0.0,
    **arguments: Any,
) -> Optimizer:
    """Build an optimizer of timm, with timm's defaults of that name.

    Args:
        params: Parameters, or groups of them.
        opt: A name of :func:`timm.optim.list_optimizers`, such as ``'lamb'`` or ``'nadamw'``, also with the prefix
            ``'lookahead_'`` (Zhang et al., arXiv 1907.08610).
        lr: Learning rate; ``None`` (default) for the optimizer's own default.
        weight_decay: Weight decay. Default: 0.
        **arguments: Further arguments of the class behind the name: ``betas``, ``momentum``, ``eps``, ...

    Raises:
        ArgumentError: timm does not know the name, needs a package that is not installed, or the class has no such
            argument; or the optimizer needs second derivatives, whose compute is not counted.

    Example:
        >>> optim_wrapper = dict(optimizer=dict(type='TimmOptimizer', opt='lamb', lr=5e-3, weight_decay=0.02))
    """
    name = opt.lower().removeprefix(_LOOKAHEAD)
    known = timm.optim.list_optimizers()
    if name not in known:
        raise ArgumentError('opt', f'is {opt!r}, which is no optimizer of timm; {near_matches(name, known)}')
    if timm.optim.get_optimizer_info(name).second_order:
        raise ArgumentError(
            'opt',
            f'is {opt!r}, which takes second derivatives, and their compute is not counted; take another optimizer',
        )
    try:
        cls = timm.optim.get_optimizer_class(name, bind_defaults=False)
    except (ImportError, AssertionError) as error:
        raise ArgumentError(
            'opt', f'is {opt!r}, which is not available here: {error}; take another optimizer'
        ) from error
    accepted = arguments_of(cls)[0].keys() - {'params'}
    for argument in arguments.keys() - accepted:  # timm drops some of them, such as eps and betas
        raise ArgumentError(argument, f'is not an argument of opt={opt!r}; {near_matches(argument, accepted)}')
    check_arguments(cls, arguments)
    try:
        return timm.optim.create_optimizer_v2(params, opt, lr=lr, weight_decay=weight_decay, **arguments)
    except Exception as error:  # classes raise errors of any type
        raise ArgumentError(
            'opt',
            f'is {opt!r}, which timm cannot build with {shortened(arguments)}: {reason(error)}; correct the arguments',
        ) from error
