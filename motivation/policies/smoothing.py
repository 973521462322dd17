"""Smoothing of noisy losses."""

import math
from typing import Any

from motivation.errors import ArgumentError
from motivation.utils.arguments import Count, Momentum, checked


class Smoothing:
    """A running exponential average or moving mean.

    A non-finite value is returned as it is and does not affect later ones.

    Args:
        momentum: Weight of the past in the exponential average, from 0 (default, no average) to below 1. The average
            starts at the first value.
        window: Number of recent values whose mean is taken; 1 (default) for no smoothing.

    Raises:
        ValueError: A value is out of range, or both are given.
    """

    @checked
    def __init__(self, momentum: Momentum = 0.0, window: Count = 1) -> None:
        if momentum and window > 1:
            raise ArgumentError('smoothing', f'is {momentum!r} and window is {window!r}; give one of them')
        self.momentum = momentum
        self.window = window
        self.values: list[float] = []  # the last `window` values, or only the exponential average

    def __call__(self, value: float) -> float:
        """Add a value and return the smoothed one."""
        if not math.isfinite(value):
            return value
        if self.momentum:
            past = self.values[0] if self.values else value
            self.values = [self.momentum * past + (1 - self.momentum) * value]
        else:
            self.values = [*self.values, value][-self.window :]
        return sum(self.values) / len(self.values)

    def reset(self) -> None:
        """Forget all values."""
        self.values = []

    def state_dict(self) -> dict[str, Any]:
        return {'values': list(self.values)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.values = list(state_dict['values'])
