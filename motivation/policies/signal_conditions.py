"""Conditions on signals other than the loss."""

import math
from typing import Annotated, Any

from annotated_types import Ge

from motivation.errors import ArgumentError, ConfigError, near_matches
from motivation.policies.switch_policy import SwitchPolicy, is_beyond
from motivation.registry import POLICIES
from motivation.structures import lower_is_better
from motivation.utils.arguments import Momentum, check_one_of, checked


@POLICIES.register_module()
class GradientNorm(SwitchPolicy):
    """A policy that activates the motivated model after a batch with a small or large gradient.

    The norm is the total L2 norm of the gradients of the active model, before clipping. The two models have different
    numbers of parameters and therefore different norms.

    Args:
        below: Activate if the norm is below this.
        above: Activate if the norm is above this. Give exactly one of ``below`` and ``above``.
        relative: Weight of the past, from 0 to below 1, in an exponential average of the previous norms. If given,
            ``below`` and ``above`` are multiples of that average; ``None`` (default) for absolute norms.

    Raises:
        ValueError: A value is out of range, or not exactly one of ``below`` and ``above`` is given.

    Example:
        >>> motivation = dict(policy=dict(type='GradientNorm', below=0.8, relative=0.99))
    """

    @checked
    def __init__(
        self,
        below: Annotated[float, Ge(0)] | None = None,
        above: Annotated[float, Ge(0)] | None = None,
        relative: Momentum | None = None,
    ) -> None:
        check_one_of(below=below, above=above)
        self.below = below
        self.above = above
        self.relative = relative
        self.average: float | None = None  # of the previous norms

    def update(self, loss: float, grad_norm: float) -> bool:
        if not math.isfinite(grad_norm):
            return False
        if self.relative is None:
            return is_beyond(grad_norm, self.below, self.above)
        before = self.average
        self.average = grad_norm if before is None else self.relative * before + (1 - self.relative) * grad_norm
        return before is not None and is_beyond(grad_norm, self.below, self.above, unit=before)

    def state_dict(self) -> dict[str, Any]:
        return {'average': self.average}


@POLICIES.register_module()
class ValidationGain(SwitchPolicy):
    """A policy that activates the motivated model while each validation improves on the previous one.

    Each validation decides for all batches until the next one: they are motivated if ``metric`` has increased by more
    than ``min_gain`` since the previous validation. Validation follows the last batch of an epoch, so its decision
    applies from the second batch of the next epoch.

    Args:
        metric: A validation metric for which higher is better; ``'base/accuracy/top1'`` by default.
        min_gain: Increase that must be exceeded, in units of the metric; 0 by default.

    Raises:
        ValueError: ``min_gain`` is not a finite number, lower values of ``metric`` are better, or (after a
            validation) there is no such metric.

    Example:
        >>> motivation = dict(policy=dict(type='ValidationGain', metric='base/accuracy/top1', min_gain=0.5))
    """

    @checked
    def __init__(self, metric: str = 'base/accuracy/top1', min_gain: float = 0.0) -> None:
        if lower_is_better(metric):
            raise ArgumentError('metric', f'is {metric!r}, whose lower values are better; name one that grows')
        self.metric = metric
        self.min_gain = min_gain
        self.previous: float | None = None
        self.awake = False

    def update(self, loss: float, metrics: dict[str, float] | None) -> bool:
        if metrics is not None:
            if self.metric not in metrics:
                raise ConfigError(
                    f'ValidationGain.metric is {self.metric!r}, which validation does not report; '
                    f'{near_matches(self.metric, metrics)}'
                )
            value = metrics[self.metric]
            self.awake = self.previous is not None and value > self.previous + self.min_gain
            self.previous = value
        return self.awake

    def state_dict(self) -> dict[str, Any]:
        return {'previous': self.previous, 'awake': self.awake}
