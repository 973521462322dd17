"""Which model made every step, and at what loss."""

from array import array
from typing import Any

import torch


class SwitchTrace:
    """The training loss of every batch and whether the motivated model made the step."""

    def __init__(self) -> None:
        self.losses = array('d')
        self.motivated = bytearray()

    def append(self, loss: float, motivated: bool) -> None:
        """Record one batch."""
        self.losses.append(loss)
        self.motivated.append(motivated)

    def __len__(self) -> int:
        return len(self.losses)

    @property
    def motivated_fraction(self) -> float:
        """Share of the batches so far that were motivated; 0 before the first."""
        return sum(self.motivated) / max(len(self), 1)

    def spells(self) -> list[tuple[int, int]]:
        """Motivated spells as (first batch, batch after the last), counted from 0."""
        edges = [0, *self.motivated, 0]
        starts = [i for i in range(len(self)) if edges[i] < edges[i + 1]]
        ends = [i for i in range(1, len(self) + 1) if edges[i] > edges[i + 1]]
        return list(zip(starts, ends, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """As tensors, which a checkpoint holds as plain data."""
        return {
            'losses': torch.tensor(self.losses, dtype=torch.float64),
            'motivated': torch.tensor(list(self.motivated), dtype=torch.uint8),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.losses = array('d', state_dict['losses'].tolist())
        self.motivated = bytearray(state_dict['motivated'].tolist())
