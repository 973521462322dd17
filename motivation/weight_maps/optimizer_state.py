"""Transfer of optimizer state along a weight map."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from motivation.errors import ConfigError
from motivation.structures import ModelName
from motivation.weight_maps.copy_plan import CopyPlan
from motivation.weight_maps.weight_map import WeightMap

# State of timm's MADGRAD and Lookahead that is a copy of the weights.
_COPIES = ('x0', 'lookahead_slow_buff')


def state_of(optimizer: Optimizer) -> Any:
    """Return the state of an optimizer, by parameter; that of timm's ``Lookahead`` is in the optimizer inside it."""
    return getattr(optimizer, '_base_optimizer', optimizer).state


class OptimizerStateTransfer:
    """Copies the state of mapped parameters (momentum, moments, step counts) from one optimizer to the other.

    State with the shape of its parameter is indexed like the parameter; scalars such as a step count are copied, also
    those that an optimizer keeps with its groups (LAMB, Adan). Parameters without state are skipped. State of the
    extension does not change; before its first step it is zero or, if it is a copy of the weights, that.

    Args:
        weight_map: The weight map of the two models.
    """

    def __init__(self, weight_map: WeightMap) -> None:
        self.weight_map = weight_map
        self._plan: CopyPlan | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_plan': None}

    def transfer(self, source: ModelName, optimizers: Mapping[ModelName, Optimizer]) -> None:
        """Copy the state of one model's optimizer to the other's.

        Args:
            source: Name of the model whose optimizer is copied from.
            optimizers: Both optimizers, of one class.

        Raises:
            ConfigError: The optimizer has state that is neither a scalar nor of its parameter's shape.
        """
        target: ModelName = 'motivated' if source == 'base' else 'base'
        tensors = {'base': self.weight_map.tensors('base'), 'motivated': self.weight_map.tensors('motivated')}
        copied = []
        for pair in self.weight_map.pairs:
            parameters = {'base': tensors['base'][pair.base], 'motivated': tensors['motivated'][pair.motivated]}
            state = state_of(optimizers[source]).get(parameters[source])
            if not state:
                continue
            written = state_of(optimizers[target])[parameters[target]]
            for name, value in state.items():
                if not isinstance(value, Tensor):
                    written[name] = value
                elif value.shape == parameters[source].shape:
                    if not isinstance(written.get(name), Tensor):
                        written[name] = (
                            parameters[target].detach().clone()
                            if name in _COPIES
                            else torch.zeros_like(parameters[target], dtype=value.dtype)
                        )
                    both = {source: value, target: written[name]}
                    copied.append((both['base'], both['motivated'], pair.index))
                elif value.ndim == 0:
                    written[name] = value.clone()
                else:
                    raise ConfigError(
                        f"model.optimizer_state is 'transfer', but {type(optimizers[source]).__name__} keeps {name!r} of "
                        f'shape {tuple(value.shape)} for a parameter of {tuple(parameters[source].shape)}; '
                        "set it to 'separate'"
                    )
        if self._plan is None or not self._plan.fits(copied):
            self._plan = CopyPlan(copied)
        self._plan.copy(source)
        _copy_counts(optimizers[source], optimizers[target])


def _copy_counts(source: Optimizer, target: Optimizer) -> None:
    """Copy the number of steps that an optimizer keeps with its groups; it is the same in all of them."""
    steps = source.param_groups[0].get('step')
    for group in target.param_groups if steps is not None else ():
        group['step'] = steps.clone() if isinstance(steps, Tensor) else steps
