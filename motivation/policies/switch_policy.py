"""The interface of every switch policy."""

import inspect
from abc import ABC, abstractmethod
from typing import Any


class SwitchPolicy(ABC):
    """Decides after every batch which model trains on the next one.

    A policy is plain Python and knows neither runner nor model. It is told the training loss of
    every batch, in order, whichever model made it. What it keeps between batches it returns from
    :meth:`state_dict`, so that a resumed run decides as an uninterrupted one would.
    """

    @abstractmethod
    def update(self, loss: float) -> bool:
        """Take in the loss of the batch just trained on.

        Args:
            loss: Mean training loss of the batch, over all processes.

        Returns:
            Whether the motivated model trains on the next batch.
        """

    def set_seed(self, seed: int) -> None:  # noqa: B027, a policy without randomness needs none
        """Called once before training with the run's seed; random policies draw from it."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that :meth:`update` depends on and changes, as plain Python values."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    def __repr__(self) -> str:
        names = [name for name in inspect.signature(type(self)).parameters if hasattr(self, name)]
        return f'{type(self).__name__}({", ".join(f"{name}={getattr(self, name)!r}" for name in names)})'
