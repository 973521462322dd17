"""Conditions on other signals than the loss."""

import math
from typing import Any

from motivation.errors import ConfigError, near_matches
from motivation.policies.arguments import check_number, check_one_of, is_beyond
from motivation.policies.switch_policy import SwitchPolicy
from motivation.registry import POLICIES


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

    def __init__(self, below: float | None = None, above: float | None = None, relative: float | None = None) -> None:
        check_one_of(below=below, above=above)
        check_number('below' if above is None else 'above', below if above is None else above, 0)
        if relative is not None:
            check_number('relative', relative, 0, 1)
            if relative == 1:
                raise ConfigError('motivation.policy.relative is 1; it must be below 1, or the average would not move')
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

    def __init__(self, metric: str = 'base/accuracy/top1', min_gain: float = 0.0) -> None:
        if not isinstance(metric, str):
            raise ConfigError(f'motivation.policy.metric is {metric!r}; give the name of a metric of validation')
        check_number('min_gain', min_gain)
        self.metric = metric
        self.min_gain = min_gain
        self.previous: float | None = None
        self.awake = False

    def update(self, loss: float, metrics: dict[str, float] | None) -> bool:
        if metrics is not None:
            if self.metric not in metrics:
                raise ConfigError(
                    f'motivation.policy.metric is {self.metric!r}, which validation does not report; '
                    f'{near_matches(self.metric, metrics)}'
                )
            value = metrics[self.metric]
            self.awake = self.previous is not None and value > self.previous + self.min_gain
            self.previous = value
        return self.awake

    def state_dict(self) -> dict[str, Any]:
        return {'previous': self.previous, 'awake': self.awake}
