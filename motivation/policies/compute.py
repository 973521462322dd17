"""The signal ``compute`` of policies."""

from typing import NamedTuple


class Compute(NamedTuple):
    """Training compute that a run has spent and can still spend, in FLOPs.

    Attributes:
        spent: FLOPs spent so far on both models.
        left: FLOPs of the remaining batches if all of them trained one model, by name of the model.
        batch: FLOPs of one full batch that trains a model, by name of the model. With distillation, a motivated
            batch includes the additional step of the base model.
        motivated_alone: FLOPs of the whole run if every batch trained the motivated model alone.
    """

    spent: int
    left: dict[str, int]
    batch: dict[str, int]
    motivated_alone: int
