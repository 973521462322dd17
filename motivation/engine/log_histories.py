"""Histories of logged scalars no longer than what reads them looks back.

MMEngine keeps every value of every scalar and copies all of them at each step: a step of a run of 500,000
batches would cost milliseconds, and its checkpoints hold 100 MB, for figures that nobody reads back. The
log, its JSON lines and TensorBoard have them.
"""

from dataclasses import dataclass

from mmengine.logging import MessageHub
from mmengine.runner import LogProcessor


@dataclass(frozen=True)
class HistoryBounds:
    """How many values of each scalar are kept.

    Attributes:
        train: Of scalars of training, one value a batch; ``None`` for all.
        evaluation: Of every other scalar; ``None`` for all.
    """

    train: int | None
    evaluation: int | None

    def apply(self, message_hub: MessageHub) -> None:
        """Let the scalars that there are forget what is older; new ones are bounded when this is called again."""
        for name, history in message_hub.log_scalars.items():
            bound = self.train if name.startswith('train/') else self.evaluation
            if bound is not None:
                history.max_length = bound


def history_bounds(log_processor: LogProcessor, train_batches: int, evaluation_batches: int) -> HistoryBounds:
    """What a log processor looks back.

    Args:
        log_processor: It has a window for all scalars, and one for each of ``custom_cfg``: a number of
            values, ``'epoch'`` or ``'global'``, for which everything is kept.
        train_batches: Batches of a training epoch.
        evaluation_batches: Batches of the longest evaluation, of which the times are averaged.
    """
    windows = [log_processor.window_size, *(entry.get('window_size', 1) for entry in log_processor.custom_cfg)]
    if 'global' in windows:
        return HistoryBounds(None, None)
    longest = max((window for window in windows if isinstance(window, int)), default=1)
    train = max(longest, train_batches) if 'epoch' in windows else longest
    return HistoryBounds(train, max(longest, evaluation_batches))
