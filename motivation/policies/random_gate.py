"""A random gate, the control for every motivation condition."""

import random
from typing import Any

from motivation.policies.switch_policy import SwitchPolicy
from motivation.registry import POLICIES
from motivation.utils.arguments import Seed, Share, checked


@POLICIES.register_module()
class RandomGate(SwitchPolicy):
    """A policy that activates the motivated model for each batch with probability ``rate``, whatever the loss.

    Source: control experiment A of "Motivation is Something You Need", arXiv 2602.21064.

    Args:
        rate: Probability that a batch is motivated, from 0 to 1.
        seed: Seed of the random draws, at least 0; ``None`` (default) for the seed of the run.

    Raises:
        ValueError: A value is out of range.

    Example:
        >>> motivation = dict(policy=dict(type='RandomGate', rate=0.17))
    """

    @checked
    def __init__(self, rate: Share, seed: Seed | None = None) -> None:
        self.rate = rate
        self.seed = seed
        self._generator = random.Random(seed)

    def set_seed(self, seed: int) -> None:
        if self.seed is None:
            self._generator.seed(seed)

    def update(self, loss: float) -> bool:
        return self._generator.random() < self.rate

    def state_dict(self) -> dict[str, Any]:
        version, words, gauss_next = self._generator.getstate()
        return {'version': version, 'words': list(words), 'gauss_next': gauss_next}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._generator.setstate((state_dict['version'], tuple(state_dict['words']), state_dict['gauss_next']))
