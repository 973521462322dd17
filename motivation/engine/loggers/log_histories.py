"""Bounding the histories of logged scalars by the windows of the log processor.

MMEngine keeps every value of every scalar and copies them all at each step. After 500,000 batches a step would cost
milliseconds and a checkpoint 100 MB, for values that the log and TensorBoard already have.
"""

from dataclasses import dataclass

from mmengine.logging import MessageHub
from mmengine.runner import LogProcessor


@dataclass(frozen=True)
class HistoryBounds:
    """Numbers of values kept of each scalar.

    Attributes:
        train: Number for training scalars, which have one value per batch; ``None`` for no bound.
        evaluation: Number for all other scalars; ``None`` for no bound.
    """

    train: int | None
    evaluation: int | None

    def apply(self, message_hub: MessageHub) -> None:
        """Bound all scalars that exist; call it again for new ones."""
        for name, history in message_hub.log_scalars.items():
            bound = self.train if name.startswith('train/') else self.evaluation
            if bound is not None:
                history.max_length = bound


def history_bounds(log_processor: LogProcessor, train_batches: int, evaluation_batches: int) -> HistoryBounds:
    """Return the bounds that a log processor needs.

    Args:
        log_processor: The log processor, with a window for all scalars and one for each entry of ``custom_cfg``: a
            number of values, ``'epoch'``, or ``'global'``, which needs all values.
        train_batches: Batches of a training epoch.
        evaluation_batches: Batches of the longest evaluation, whose times are averaged.
    """
    windows = [log_processor.window_size, *(entry.get('window_size', 1) for entry in log_processor.custom_cfg)]
    if 'global' in windows:
        return HistoryBounds(None, None)
    longest = max((window for window in windows if isinstance(window, int)), default=1)
    train = max(longest, train_batches) if 'epoch' in windows else longest
    return HistoryBounds(train, max(longest, evaluation_batches))
