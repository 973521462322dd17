"""Checking before training whether an optimizer's state allows the transfer of weights between two models."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from motivation.errors import ArgumentError
from motivation.registry import OPTIMIZERS
from motivation.weight_maps.optimizer_state import state_of

# Steps after which every optimizer of timm has all of its state: that of Lookahead comes with the sixth.
_STEPS = 6

# An optimizer that keeps one factor for the rows and one for the columns of a tensor does so from 16 on.
_SIZE = 17


def check_state(config: Mapping[str, Any], optimizer_state: Literal['separate', 'transfer']) -> None:
    """Check that an optimizer can train one of two models that share weights.

    Args:
        config: Its config.
        optimizer_state: What happens to its state at a switch, see :class:`~motivation.models.DualModel`.

    Raises:
        ArgumentError: With ``'separate'``, the optimizer keeps a copy of the weights; with ``'transfer'``, it keeps
            tensors that have not the shape of their parameter, and so no image.
    """
    field = 'optimizer.opt' if 'opt' in config else 'optimizer.type'
    name = config.get('opt', config.get('type'))
    if optimizer_state == 'separate' and keeps_weights(config):
        raise ArgumentError(
            field,
            f'is {name!r}, which draws the weights back to a copy that it keeps, also past a transfer; write '
            "model.optimizer_state='transfer', with which the copy is transferred too, or take another optimizer",
        )
    if optimizer_state == 'transfer':
        for parameter, state in probe(config).items():
            for value in state.values():
                shape = value.shape if isinstance(value, Tensor) else ()
                if isinstance(value, (list, tuple, dict)) or (shape and shape != parameter.shape):
                    raise ArgumentError(
                        field,
                        f"is {name!r}, which keeps state of other shapes than its parameter's, and model.optimizer_state is "
                        "'transfer'; set that to 'separate'",
                    )


def keeps_weights(config: Mapping[str, Any]) -> bool:
    """Return whether the state of an optimizer has a copy of the weights, to which it draws them back."""
    opt = str(config.get('opt', '')).lower()
    return opt.startswith('lookahead_') or (opt in ('madgrad', 'madgradw') and config.get('momentum', 0.9) > 0)


def probe(config: Mapping[str, Any]) -> dict[nn.Parameter, dict[str, Any]]:
    """Return the state of a matrix and of a convolution's weight after some steps of an optimizer.

    Args:
        config: The config of the optimizer; nothing is returned for one that cannot be stepped like this.
    """
    generator = torch.Generator().manual_seed(0)
    parameters = [
        nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((_SIZE, _SIZE), (_SIZE, _SIZE, 3, 3))
    ]
    try:
        optimizer = OPTIMIZERS.build({**config, 'params': parameters})
        for _ in range(_STEPS):
            for parameter in parameters:
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()
    except Exception:  # a class of the user's own may need more, and raises where it is built for training
        return {}
    return {parameter: state_of(optimizer)[parameter] for parameter in parameters}
