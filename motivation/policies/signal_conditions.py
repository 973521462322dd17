"""Conditions on other signals than the loss."""

import math
from typing import Annotated, Any

from annotated_types import Ge

from motivation.errors import ConfigError, near_matches
from motivation.policies.switch_policy import SwitchPolicy, is_beyond
from motivation.registry import POLICIES
from motivation.utils.arguments import Momentum, check_one_of, checked


@POLICIES.register_module()
class GradientNorm(SwitchPolicy):
    """Wakes the motivated model after a batch with a small, or a large, gradient.

    The norm is that of the active model's whole gradient, before clipping. The two models have
    different numbers of parameters, hence different norms.

    Args:
        below: Wake where the norm is below this.
        above: Wake where it is above this. Give one of the two.
        relative: Weight of the past, 0 to 1, in an exponential average of the norms before; the
            threshold is then a multiple of that average. ``None``: the threshold is the norm itself.

    Raises:
        ConfigError: A value is out of range, or not exactly one of ``below`` and ``above`` is given.

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
        self.average: float | None = None  # of the norms before

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
    """Wakes the motivated model for as long as each validation is better than the one before.

    After each validation it decides once, for all batches until the next: motivated if ``metric``
    has grown by more than ``min_gain`` since the validation before. A validation follows the last
    batch of an epoch, so its verdict holds from the second batch of the next epoch on.

    Args:
        metric: A metric of validation for which higher is better.
        min_gain: In units of the metric.

    Raises:
        ConfigError: ``min_gain`` is no number, or validation has no such metric.

    Example:
        >>> motivation = dict(policy=dict(type='ValidationGain', metric='base/accuracy/top1', min_gain=0.5))
    """

    @checked
    def __init__(self, metric: str = 'base/accuracy/top1', min_gain: float = 0.0) -> None:
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
