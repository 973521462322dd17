"""Smoothing of a noisy sequence."""

import math
from typing import Any

from motivation.errors import ArgumentError
from motivation.utils.arguments import Count, Momentum, checked


class Smoothing:
    """Exponential average, or mean of a window, of the values so far.

    A value that is not finite is passed through and leaves no trace.

    Args:
        momentum: Weight of the past in the exponential average, from 0 (none) to below 1; the average
            begins with the first value.
        window: Number of last values whose mean is taken; 1 for none.

    Raises:
        ConfigError: A value is out of range, or both are given.
    """

    @checked
    def __init__(self, momentum: Momentum = 0.0, window: Count = 1) -> None:
        if momentum and window > 1:
            raise ArgumentError('smoothing', f'is {momentum!r} and window is {window!r}; give one of them')
        self.momentum = momentum
        self.window = window
        self.values: list[float] = []  # the last `window`, or the average alone

    def __call__(self, value: float) -> float:
        """Take in a value; return the smoothed one."""
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
