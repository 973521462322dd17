"""Building the schedules of both models, and one whose phases are shares of the run."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from mmengine.optim import _ParamScheduler

from motivation.errors import ArgumentError, ConfigError, reason
from motivation.registry import PARAM_SCHEDULERS, look_up
from motivation.utils.arguments import Share, checked

# The part of the rate that is left after a share of the decay phase, by its shape.
_SHAPES: dict[str, Callable[[float], float]] = {
    'linear': lambda share: 1 - share,
    'cosine': lambda share: (1 + math.cos(math.pi * share)) / 2,
    '1-sqrt': lambda share: 1 - math.sqrt(share),
}


@PARAM_SCHEDULERS.register_module()
class WarmupStableDecayLR(_ParamScheduler):
    """Raises the learning rate, keeps it, and lowers it again, in shares of the run instead of epochs.

    The rate changes with every batch: of N, update i (from 0) has ``(i + 1) / W`` of it in the W updates of the warm-up,
    and ``end_factor + (1 - end_factor) * shape((i - S) / (N - S))`` from update S on, where the decay begins (Hu et
    al., arXiv 2404.06395; shapes of Hägele et al., arXiv 2405.18392). Another ``train_cfg.max_epochs`` needs no other
    arguments. A cosine with warm-up is ``warmup=0.05, decay=0.95, shape='cosine'``.

    Args:
        optimizer: The optimizer or its wrapper.
        warmup: Share of the run in which the rate rises, 0 to 1. Default: 0.
        decay: Share of the run, at its end, in which the rate falls, 0 to 1. Default: 0.4.
        shape: ``'linear'`` (default), ``'cosine'``, or ``'1-sqrt'``.
        end_factor: Factor of the rate at the end of the run, 0 to 1. Default: 0.
        end: Updates of the run; the runner gives it.
        by_epoch: ``False``; the runner gives it.

    Raises:
        ArgumentError: An argument is invalid, or the phases are longer than the run.

    Example:
        >>> param_scheduler = [dict(type='WarmupStableDecayLR', warmup=0.05, decay=0.4)]
    """

    over_the_run = True

    @checked
    def __init__(
        self,
        optimizer: Any,
        warmup: Share = 0.0,
        decay: Share = 0.4,
        shape: Literal['linear', 'cosine', '1-sqrt'] = 'linear',
        end_factor: Share = 0.0,
        end: int = 1,
        by_epoch: bool = False,
    ) -> None:
        if warmup + decay > 1 + 1e-9:
            raise ArgumentError('warmup', f'is {warmup} and decay {decay}, together more than the run; lower one')
        self.warmup_steps = round(warmup * end)
        self.decay_begin = end - round(decay * end)
        self.shape = shape
        self.end_factor = end_factor
        super().__init__(optimizer, 'lr', end=end, by_epoch=by_epoch)

    def factor(self, step: int) -> float:
        """Return the factor of the learning rate of an update, counted from 0."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if step < self.decay_begin:
            return 1.0
        left = _SHAPES[self.shape]((step - self.decay_begin) / (self.end - self.decay_begin))
        return self.end_factor + (1 - self.end_factor) * left

    def _get_value(self) -> list[float]:
        return [value * self.factor(self.last_step) for value in self.base_values]


def build_schedules(build: Callable[[Any], Any], scheduler: Any, max_epochs: int) -> Any:
    """Build the schedules of both models.

    Args:
        build: MMEngine's function, which takes the config.
        scheduler: The config: a schedule, a list of them, or either by model.
        max_epochs: Epochs of the run, for messages.

    Raises:
        ConfigError: A schedule cannot be built, or is given a length that it takes from the run.
    """
    try:
        return build(_over_the_run(scheduler))
    except ArgumentError as error:
        raise ConfigError(f'param_scheduler.{error}') from error
    except Exception as error:
        raise ConfigError(
            f'param_scheduler does not fit train_cfg.max_epochs, which is {max_epochs}: {reason(error)}; '
            'make them agree, or train without with param_scheduler=[]'
        ) from error


def _over_the_run(node: Any) -> Any:
    """Return the config with schedules over the whole run counted in updates, whose number MMEngine then gives them."""
    if isinstance(node, (list, tuple)):
        return [_over_the_run(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    if 'type' not in node:
        return {name: _over_the_run(item) for name, item in node.items()}
    if not getattr(look_up(PARAM_SCHEDULERS, node['type']), 'over_the_run', False):
        return node
    for field in ('end', 'by_epoch', 'convert_to_iter_based'):
        if field in node:
            raise ArgumentError(field, f'is {node[field]!r}, and {node["type"]} goes over the whole run; leave it out')
    return {**node, 'by_epoch': False}
