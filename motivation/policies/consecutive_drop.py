"""The motivation condition of the paper."""

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
    """A policy that activates the motivated model once the loss has dropped for ``drops`` consecutive batches.

    Each loss is compared with the loss of the previous batch, whichever model produced it. The motivated model stays
    active while the loss keeps dropping; the first batch without a drop ends the spell. An equal or non-finite loss is
    not a drop, and neither is a loss that follows a non-finite one.

    Source: "Motivation is Something You Need", arXiv 2602.21064. The options other than ``drops`` are not from the
    paper. If the losses were independent noise, ``drops`` consecutive drops would occur with probability
    1 / (drops + 1)!.

    Args:
        drops: Number of consecutive drops required, at least 1; 2 by default.
        smoothing: Weight of the past in an exponential average of the loss, from 0 (default, no smoothing) to below
            1. Averages are compared instead of losses.
        window: Number of recent losses whose means are compared, instead of ``smoothing``; 1 (default) compares the
            losses themselves.
        threshold: Amount that a drop must exceed, at least 0 (default).
        threshold_mode: Unit of ``threshold``: ``'abs'`` (default) for that of the loss, ``'rel'`` for a fraction of
            the previous loss.
        min_spell: Minimum number of motivated batches in a spell, even if the loss rises; 1 by default.
        max_spell: Maximum number of motivated batches in a spell; ``None`` (default) for no limit.
        cooldown: Minimum number of base batches after a spell, during which drops are counted; 0 by default.
        across_epochs: Whether a streak continues into the next epoch (default). If ``False``, every epoch starts with
            the base model, regardless of ``min_spell``, and without previous losses.

    Raises:
        ValueError: A value is out of range, or both ``smoothing`` and ``window`` are given.

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
