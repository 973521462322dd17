"""Policies that go by the clock: controls that know nothing of the loss."""

from collections.abc import Sequence
from typing import Any

from motivation.errors import ArgumentError
from motivation.policies.switch_policy import SwitchPolicy
from motivation.registry import POLICIES
from motivation.utils.arguments import Count, checked


@POLICIES.register_module()
class Periodic(SwitchPolicy):
    """``off`` batches of the base model, then ``on`` of the motivated, over and over.

    Args:
        on: Motivated batches of a period, at least 1.
        off: Base batches of a period, at least 1.

    Raises:
        ConfigError: ``on`` or ``off`` is not a whole number of at least 1.

    Example:
        >>> motivation = dict(policy=dict(type='Periodic', on=1, off=5))
    """

    @checked
    def __init__(self, on: Count, off: Count) -> None:
        self.on = on
        self.off = off

    def update(self, loss: float, iter: int) -> bool:
        return iter % (self.on + self.off) >= self.off


@POLICIES.register_module()
class EpochSchedule(SwitchPolicy):
    """Trains the motivated model in given epochs, and the base model in the others.

    The first batch of every run is the base model's.

    Args:
        epochs: Spans ``(first, end)`` of motivated epochs, counted from 0, without ``end``; ``None``
            as ``end`` goes on to the end of the run.

    Raises:
        ConfigError: A span is not of that form.

    Example:
        >>> motivation = dict(policy=dict(type='EpochSchedule', epochs=[(20, 40), (90, None)]))
    """

    @checked
    def __init__(self, epochs: Sequence[tuple[int, int | None]]) -> None:
        if not all(map(_is_span, epochs)):
            raise ArgumentError('epochs', f'must be spans of epochs, such as [(20, 40), (90, None)], got {epochs!r}')
        self.epochs = epochs

    def update(self, loss: float, epoch: int) -> bool:
        return any(first <= epoch and (end is None or epoch < end) for first, end in self.epochs)


def _is_span(span: Any) -> bool:
    if not isinstance(span, (list, tuple)) or len(span) != 2:
        return False
    first, end = span
    return isinstance(first, int) and first >= 0 and (end is None or (isinstance(end, int) and end > first))
