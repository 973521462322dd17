"""The paper's motivation condition."""

import math
from typing import Annotated, Any, Literal

from annotated_types import Ge

from motivation.policies.smoothing import Smoothing
from motivation.policies.spell_limits import SpellLimits
from motivation.policies.switch_policy import SwitchPolicy
from motivation.registry import POLICIES
from motivation.utils.arguments import Count, Momentum, checked


@POLICIES.register_module()
class ConsecutiveDrop(SwitchPolicy):
    """Wakes the motivated model once the loss has dropped for ``drops`` consecutive batches.

    Each loss is compared with the loss of the batch before, whichever model made it. The motivated
    model stays active while the loss goes on dropping; the first batch that does not drop ends the
    spell. An equal loss is not a drop, nor is one that is not a number
    or that follows a loss that is not finite.

    Source: "Motivation is Something You Need", arXiv 2602.21064; the options beyond ``drops`` are
    not the paper's. Were the losses independent noise, ``drops`` in a row would happen after
    1 / (drops + 1)! of batches.

    Args:
        drops: Consecutive drops required, at least 1.
        smoothing: Compare exponential averages of the loss, with this weight of the past, 0 to 1.
        window: Compare means of this many last losses instead; 1 for the losses themselves.
        threshold: A drop must exceed this, at least 0.
        threshold_mode: ``'abs'``, in units of the loss, or ``'rel'``, as a share of the loss before.
        min_spell: Motivated batches of a spell at least, though the loss rises.
        max_spell: Motivated batches of a spell at most; ``None`` for no limit.
        cooldown: Base batches after a spell at least; drops are counted meanwhile.
        across_epochs: Whether a streak goes on from one epoch to the next; if not, each epoch begins
            with the base model, whatever ``min_spell``, and with nothing to compare with or to average.

    Raises:
        ConfigError: A value is out of range.

    Example:
        >>> motivation = dict(policy=dict(type='ConsecutiveDrop', drops=2))
        >>> motivation = dict(policy=dict(
        ...     type='ConsecutiveDrop', drops=2, smoothing=0.9, threshold=0.01, threshold_mode='rel', max_spell=20))
    """

    @checked
    def __init__(
        self,
        drops: Count = 2,
        smoothing: Momentum = 0.0,
        window: Count = 1,
        threshold: Annotated[float, Ge(0)] = 0.0,
        threshold_mode: Literal['abs', 'rel'] = 'abs',
        min_spell: Count = 1,
        max_spell: Count | None = None,
        cooldown: Annotated[int, Ge(0)] = 0,
        across_epochs: bool = True,
    ) -> None:
        self.drops = drops
        self.smoothing = smoothing
        self.window = window
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.min_spell = min_spell
        self.max_spell = max_spell
        self.cooldown = cooldown
        self.across_epochs = across_epochs
        self.streak = 0
        self.previous: float | None = None
        self._epoch = 0
        self._smooth = Smoothing(smoothing, window)
        self._limits = SpellLimits(min_spell, max_spell, cooldown)

    @property
    def signals(self) -> frozenset[str]:
        return frozenset() if self.across_epochs else frozenset({'epoch'})

    def update(self, loss: float, epoch: int = 0) -> bool:
        value = self._smooth(loss)
        self.streak = self.streak + 1 if self._dropped(value) else 0
        self.previous = value
        if epoch != self._epoch:
            self._epoch = epoch
            self.streak, self.previous = 0, None
            self._smooth.reset()
            return self._limits.end_spell()
        return self._limits.decide(self.streak >= self.drops)

    def _dropped(self, value: float) -> bool:
        if self.previous is None or not math.isfinite(self.previous):
            return False
        margin = self.threshold * (abs(self.previous) if self.threshold_mode == 'rel' else 1)
        return value < self.previous - margin

    def state_dict(self) -> dict[str, Any]:
        return {
            'streak': self.streak,
            'previous': self.previous,
            'epoch': self._epoch,
            'smoothing': self._smooth.state_dict(),
            'limits': self._limits.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.streak, self.previous = state_dict['streak'], state_dict['previous']
        self._epoch = state_dict['epoch']
        self._smooth.load_state_dict(state_dict['smoothing'])
        self._limits.load_state_dict(state_dict['limits'])
