"""Other conditions on the training loss."""

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
    """Wakes the motivated model once the loss has risen for ``rises`` consecutive batches.

    The opposite of :class:`ConsecutiveDrop`, and its control: it wakes as often where losses are
    noise. The first batch that does not rise ends the spell.

    Args:
        rises: Consecutive rises required, at least 1.

    Raises:
        ConfigError: ``rises`` is not a whole number of at least 1.

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
    """Wakes the motivated model while the loss is below a threshold.

    Args:
        threshold: In units of the loss.
        smoothing: Compare the exponential average of the loss, with this weight of the past, 0 to 1.

    Raises:
        ConfigError: A value is out of range.

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
    """Wakes the motivated model when training stalls, until the loss finds a new best.

    The loss is smoothed. It stalls when for ``patience`` batches it has not fallen below its best by
    more than ``threshold`` of it, as in :class:`torch.optim.lr_scheduler.ReduceLROnPlateau`.

    Args:
        patience: Batches without a new best after which the motivated model is woken, at least 1.
        threshold: Share of the best by which a new best must lie below it, from 0 to 1.
        smoothing: Weight of the past in the exponential average of the loss, 0 to 1.

    Raises:
        ConfigError: A value is out of range.

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
    """Wakes the motivated model after a batch whose loss stands out from those before it.

    The z-score is the loss less the mean of the last ``window`` losses before it, over their
    (population) standard deviation. Nothing is woken before there are ``window`` of them, or where
    they do not differ.

    Args:
        below: Wake where the z-score is below this, such as -1: an unusually easy batch.
        above: Wake where it is above this: an unusually hard one. Give one of the two.
        window: Losses it is compared with, at least 2.

    Raises:
        ConfigError: A value is out of range, or not exactly one of ``below`` and ``above`` is given.

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
