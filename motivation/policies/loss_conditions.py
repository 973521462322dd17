"""Conditions on the training loss other than that of the paper."""

import math
from collections import deque
from statistics import fmean, pstdev
from typing import Annotated, Any

from annotated_types import Ge

from motivation.policies.smoothing import Smoothing
from motivation.policies.switch_policy import SwitchPolicy, is_beyond
from motivation.registry import POLICIES
from motivation.utils.arguments import Count, Momentum, Share, check_one_of, checked


@POLICIES.register_module()
class LossRise(SwitchPolicy):
    """A policy that activates the motivated model once the loss has risen for ``rises`` consecutive batches.

    The opposite of :class:`ConsecutiveDrop` and a control for it: on independent noise both activate the motivated
    model equally often. The first batch without a rise ends the spell.

    Args:
        rises: Number of consecutive rises required, at least 1; 2 by default.

    Raises:
        ValueError: ``rises`` is less than 1.

    Example:
        >>> motivation = dict(policy=dict(type='LossRise', rises=2))
    """

    @checked
    def __init__(self, rises: Count = 2) -> None:
        self.rises = rises
        self.streak = 0
        self.previous: float | None = None

    def update(self, loss: float) -> bool:
        rose = self.previous is not None and loss > self.previous
        self.streak = self.streak + 1 if rose else 0
        self.previous = loss
        return self.streak >= self.rises

    def state_dict(self) -> dict[str, Any]:
        return {'streak': self.streak, 'previous': self.previous}


@POLICIES.register_module()
class LossBelow(SwitchPolicy):
    """A policy that activates the motivated model while the loss is below a threshold.

    Args:
        threshold: Threshold, in units of the loss.
        smoothing: Weight of the past in an exponential average of the loss, from 0 (default, no smoothing) to below
            1. The average is compared instead of the loss.

    Raises:
        ValueError: A value is out of range.

    Example:
        >>> motivation = dict(policy=dict(type='LossBelow', threshold=0.5, smoothing=0.9))
    """

    @checked
    def __init__(self, threshold: float, smoothing: Momentum = 0.0) -> None:
        self.threshold = threshold
        self.smoothing = smoothing
        self._smooth = Smoothing(smoothing)

    def update(self, loss: float) -> bool:
        return self._smooth(loss) < self.threshold

    def state_dict(self) -> dict[str, Any]:
        return self._smooth.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._smooth.load_state_dict(state_dict)


@POLICIES.register_module()
class Plateau(SwitchPolicy):
    """A policy that activates the motivated model when training stalls, until the loss reaches a new best.

    Training stalls when the smoothed loss has not fallen below its best value by more than a fraction ``threshold``
    of it for ``patience`` batches, as in :class:`torch.optim.lr_scheduler.ReduceLROnPlateau`.

    Args:
        patience: Number of batches without a new best that activates the motivated model, at least 1; 50 by default.
        threshold: Fraction of the best loss by which a new best must be lower, from 0 to 1; 0.001 by default.
        smoothing: Weight of the past in the exponential average of the loss, from 0 to below 1; 0.9 by default.

    Raises:
        ValueError: A value is out of range.

    Example:
        >>> motivation = dict(policy=dict(type='Plateau', patience=100))
    """

    @checked
    def __init__(self, patience: Count = 50, threshold: Share = 0.001, smoothing: Momentum = 0.9) -> None:
        self.patience = patience
        self.threshold = threshold
        self.smoothing = smoothing
        self.best: float | None = None
        self.stalled = 0
        self._smooth = Smoothing(smoothing)

    def update(self, loss: float) -> bool:
        value = self._smooth(loss)
        if math.isfinite(value) and (self.best is None or value < self.best - self.threshold * abs(self.best)):
            self.best, self.stalled = value, 0
        else:
            self.stalled += 1
        return self.stalled >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return {'best': self.best, 'stalled': self.stalled, 'smoothing': self._smooth.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.stalled = state_dict['best'], state_dict['stalled']
        self._smooth.load_state_dict(state_dict['smoothing'])


@POLICIES.register_module()
class LossZScore(SwitchPolicy):
    """A policy that activates the motivated model after a batch whose loss is an outlier.

    The z-score of a loss is its difference from the mean of the ``window`` losses before it, divided by their
    (population) standard deviation. The base model stays active until there are ``window`` losses, and whenever they
    are all equal.

    Args:
        below: Activate if the z-score is below this, such as -1, after an unusually easy batch.
        above: Activate if the z-score is above this, after an unusually hard batch. Give exactly one of ``below`` and
            ``above``.
        window: Number of previous losses, at least 2; 50 by default.

    Raises:
        ValueError: A value is out of range, or not exactly one of ``below`` and ``above`` is given.

    Example:
        >>> motivation = dict(policy=dict(type='LossZScore', below=-1.0))
    """

    @checked
    def __init__(
        self, below: float | None = None, above: float | None = None, window: Annotated[int, Ge(2)] = 50
    ) -> None:
        check_one_of(below=below, above=above)
        self.below = below
        self.above = above
        self.window = window
        self._losses: deque[float] = deque(maxlen=window)

    def update(self, loss: float) -> bool:
        awake = False
        if math.isfinite(loss):
            deviation = pstdev(self._losses) if len(self._losses) == self.window else 0.0
            if deviation > 0:
                awake = is_beyond((loss - fmean(self._losses)) / deviation, self.below, self.above)
            self._losses.append(loss)
        return awake

    def state_dict(self) -> dict[str, Any]:
        return {'losses': list(self._losses)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._losses = deque(state_dict['losses'], maxlen=self.window)
