"""The last loss of every training sample."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import numpy as np

from motivation.structures import SampleLosses


class SampleHistory:
    """The loss of every training sample when it was last seen: 4 bytes a sample, in memory and in a checkpoint.

    All processes keep the same, because an epoch distributes the samples anew. What a ``RepeatDataset`` repeats counts as
    so many samples.

    Args:
        samples: Number of samples in the data set.

    Attributes:
        losses: The last loss of each sample, float32 (samples,); NaN before it is seen.
    """

    def __init__(self, samples: int) -> None:
        self.losses = np.full(samples, np.nan, np.float32)

    def update(self, seen: SampleLosses) -> float | None:
        """Replace the losses of the samples of a batch.

        Args:
            seen: The samples, with their new losses.

        Returns:
            The mean decrease of their losses since they were last seen, over those that had been seen; ``None`` if none
            had.
        """
        indices, losses = np.array(seen.indices), np.array(seen.losses, np.float32)
        decreases = self.losses[indices].astype(np.float64) - losses
        known = decreases[~np.isnan(decreases)].tolist()
        self.losses[indices] = losses
        return fmean(known) if known else None

    def state_dict(self) -> dict[str, Any]:
        """Return the losses as a numpy array."""
        return {'losses': self.losses.copy()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the losses, which may have become a tensor; those of another number of samples are of other data."""
        losses = np.array(state_dict['losses'].tolist(), np.float32)
        if len(losses) == len(self.losses):
            self.losses = losses
