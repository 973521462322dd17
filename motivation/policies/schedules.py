"""Fixed schedules, which are controls that ignore the loss."""

from collections.abc import Sequence
from typing import Any

from motivation.errors import ArgumentError
from motivation.policies.switch_policy import SwitchPolicy
from motivation.registry import POLICIES
from motivation.utils.arguments import Count, checked


@POLICIES.register_module()
class Periodic(SwitchPolicy):
    """A policy that alternates between ``off`` base batches and ``on`` motivated batches.

    Args:
        on: Number of motivated batches in a period, at least 1.
        off: Number of base batches in a period, at least 1.

    Raises:
        ValueError: ``on`` or ``off`` is less than 1.

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
    """A policy that trains the motivated model in given epochs and the base model in the others.

    The first batch of a run is always the base model's.

    Args:
        epochs: Spans ``(first, end)`` of motivated epochs, counted from 0; ``end`` is exclusive, or ``None`` for the
            end of the run.

    Raises:
        ValueError: A span does not have that form.

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
