"""The record of a run: the active model, the loss and the decision of every batch."""

from array import array
from pathlib import Path
from typing import Any

import numpy as np

from motivation.errors import ConfigError
from motivation.structures import ModelName
from motivation.utils.files import write_whole

TRACE_NAME = 'switches.npz'


class SwitchTrace:
    """A record of every training batch, in order: 14 bytes a batch, in memory and in a checkpoint.

    Attributes:
        epochs: Epoch of each batch, from 0.
        losses: Training loss of each batch.
        motivated: 1 for each batch that the motivated model trained on, 0 for the base model.
        decisions: 1 for each batch after which the policy decided that the motivated model trains next, else 0.
    """

    def __init__(self) -> None:
        self.epochs = array('i')
        self.losses = array('d')
        self.motivated = bytearray()
        self.decisions = bytearray()
        self._motivated_count = 0  # counting anew would take longer with every batch

    def append(self, epoch: int, loss: float, motivated: bool, decision: bool) -> None:
        """Record a batch."""
        self.epochs.append(epoch)
        self.losses.append(loss)
        self.motivated.append(motivated)
        self.decisions.append(decision)
        self._motivated_count += motivated

    def __len__(self) -> int:
        return len(self.losses)

    @property
    def motivated_fraction(self) -> float:
        """Fraction of the batches so far that were motivated; 0 before the first batch."""
        return self._motivated_count / max(len(self), 1)

    def count_iters(self, model: ModelName) -> int:
        """Return the number of batches on which a model took a step: those with a finite loss that it made."""
        made = np.frombuffer(bytes(self.motivated), np.bool_) == (model == 'motivated')
        return int((made & np.isfinite(np.array(self.losses))).sum())

    def spells(self) -> list[tuple[int, int]]:
        """Return the motivated spells as pairs (first batch, last batch + 1), counted from 0."""
        edges = np.diff(np.frombuffer(b'\0' + self.motivated + b'\0', np.int8))
        starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        return list(zip(starts.tolist(), ends.tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return the record as numpy arrays with one element for each batch."""
        return {
            'epochs': np.array(self.epochs),
            'losses': np.array(self.losses),
            'motivated': np.frombuffer(bytes(self.motivated), np.uint8),
            'decisions': np.frombuffer(bytes(self.decisions), np.uint8),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the arrays that :meth:`state_dict` returned, which may have become tensors."""
        self.epochs = array('i', state_dict['epochs'].tolist())
        self.losses = array('d', state_dict['losses'].tolist())
        self.motivated = bytearray(state_dict['motivated'].tolist())
        self.decisions = bytearray(state_dict['decisions'].tolist())
        self._motivated_count = sum(self.motivated)

    def save(self, folder: Path) -> None:
        """Write ``switches.npz`` into a folder, atomically.

        The file is a compressed numpy archive of the arrays of :meth:`state_dict`; element i is batch i.

        Args:
            folder: An existing folder.

        Raises:
            OSError: The file cannot be written.
        """
        write_whole(folder / TRACE_NAME, lambda file: np.savez_compressed(file, **self.state_dict()))

    @classmethod
    def load(cls, path: Path) -> 'SwitchTrace':
        """Read the switch trace of a run.

        Args:
            path: A ``switches.npz``, or the work_dir that contains it.

        Raises:
            ConfigError: There is no such file, or it is corrupted.
        """
        file = path / TRACE_NAME if path.is_dir() else path
        if not file.is_file():
            raise ConfigError(f"'{path}' has no {TRACE_NAME}; give the work_dir of a run that has trained")
        trace = cls()
        try:
            with np.load(file, allow_pickle=False) as arrays:
                trace.load_state_dict(dict(arrays))
        except Exception as error:  # zip, zlib and numpy raise errors of many types
            raise ConfigError(
                f"'{file}' is corrupted or not a switch trace; give the work_dir of another run"
            ) from error
        return trace
