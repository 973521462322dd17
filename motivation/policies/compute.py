"""What training has cost and can still cost, as a policy is told it."""

from typing import NamedTuple


class Compute(NamedTuple):
    """The signal ``compute``: what training has cost and can still cost, in FLOPs.

    Attributes:
        spent: By training so far, on both models.
        left: By the batches that are left, if each trained the model of that name alone.
        batch: By one batch of full size that trains the model of that name; with distillation, a
            motivated batch includes the base model's further step.
        motivated_alone: By the whole run, if every batch trained the motivated model alone.
    """

    spent: int
    left: dict[str, int]
    batch: dict[str, int]
    motivated_alone: int
