"""Which model made every step, at what loss, and what the policy then decided."""

from array import array
from pathlib import Path
from typing import Any

import numpy as np

from motivation.errors import ConfigError
from motivation.structures import ModelName
from motivation.utils.files import write_whole

TRACE_NAME = 'switches.npz'


class SwitchTrace:
    """The record of every training batch, in order: 14 bytes a batch, in memory and in a checkpoint.

    Attributes:
        epochs: Epoch of each batch, from 0.
        losses: Training loss of each batch.
        motivated: 1 where the motivated model made the step, 0 where the base model did.
        decisions: 1 where the policy then decided that the motivated model makes the next step.
    """

    def __init__(self) -> None:
        self.epochs = array('i')
        self.losses = array('d')
        self.motivated = bytearray()
        self.decisions = bytearray()
        self._motivated_count = 0  # counting anew would take longer with every batch

    def append(self, epoch: int, loss: float, motivated: bool, decision: bool) -> None:
        """Record one batch."""
        self.epochs.append(epoch)
        self.losses.append(loss)
        self.motivated.append(motivated)
        self.decisions.append(decision)
        self._motivated_count += motivated

    def __len__(self) -> int:
        return len(self.losses)

    @property
    def motivated_fraction(self) -> float:
        """Share of the batches so far that were motivated; 0 before the first."""
        return self._motivated_count / max(len(self), 1)

    def count_iters(self, model: ModelName) -> int:
        """Return the number of batches on which a model took a step: those with a finite loss that it made."""
        made = np.frombuffer(bytes(self.motivated), np.bool_) == (model == 'motivated')
        return int((made & np.isfinite(np.array(self.losses))).sum())

    def spells(self) -> list[tuple[int, int]]:
        """Motivated spells as (first batch, batch after the last), counted from 0."""
        edges = np.diff(np.frombuffer(b'\0' + self.motivated + b'\0', np.int8))
        starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        return list(zip(starts.tolist(), ends.tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """As arrays, a row a batch."""
        return {
            'epochs': np.array(self.epochs),
            'losses': np.array(self.losses),
            'motivated': np.frombuffer(bytes(self.motivated), np.uint8),
            'decisions': np.frombuffer(bytes(self.decisions), np.uint8),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, or the same as tensors."""
        self.epochs = array('i', state_dict['epochs'].tolist())
        self.losses = array('d', state_dict['losses'].tolist())
        self.motivated = bytearray(state_dict['motivated'].tolist())
        self.decisions = bytearray(state_dict['decisions'].tolist())
        self._motivated_count = sum(self.motivated)

    def save(self, folder: Path) -> None:
        """Write ``switches.npz`` into a folder, whole or not at all.

        It is a compressed numpy archive of the arrays of :meth:`state_dict`; row i is batch i.
        """
        write_whole(folder / TRACE_NAME, lambda file: np.savez_compressed(file, **self.state_dict()))

    @classmethod
    def load(cls, path: Path) -> 'SwitchTrace':
        """Read a trace.

        Args:
            path: A ``switches.npz``, or the work_dir it lies in.

        Raises:
            ConfigError: There is none, or it is damaged.
        """
        file = path / TRACE_NAME if path.is_dir() else path
        if not file.is_file():
            raise ConfigError(f"'{path}' has no {TRACE_NAME}; give the work_dir of a run that has trained")
        trace = cls()
        try:
            with np.load(file, allow_pickle=False) as arrays:
                trace.load_state_dict(dict(arrays))
        except Exception as error:  # zip, zlib and numpy each raise their own
            raise ConfigError(f"'{file}' is damaged or no switch trace; give the work_dir of another run") from error
        return trace
