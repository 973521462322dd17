"""The interface of every switch policy."""

import inspect
from abc import ABC, abstractmethod
from typing import Any


class SwitchPolicy(ABC):
    """Decides after every batch which model trains on the next one.

    A policy is plain Python and knows neither runner nor model. It is told the training loss of
    every batch, in order, whichever model made it, and whatever else its :meth:`update` has a
    parameter for; ``docs/policies.md`` lists these signals. What it keeps between batches it returns
    from :meth:`state_dict`, so that a resumed run decides as an uninterrupted one would.
    """

    # Whether the policy's promise holds only if its decisions are carried out: it cannot be inside another.
    bounds_run = False

    @abstractmethod
    def update(self, loss: float, *args: Any, **signals: Any) -> bool:
        """Take in the batch just trained on.

        Args:
            loss: Mean training loss of the batch, over all processes.
            *args: Nothing; a policy declares ``update(self, loss)``, or with the signals it needs,
                ``update(self, loss, grad_norm, epoch)``.
            **signals: The declared signals, by name.

        Returns:
            Whether the motivated model trains on the next batch.
        """

    @property
    def signals(self) -> frozenset[str]:
        """Names of the signals that :meth:`update` is given beside the loss: its further parameters."""
        _, *others = inspect.signature(self.update).parameters.values()
        return frozenset(p.name for p in others if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))

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
        shown = [
            f'{name}={getattr(self, name)!r}'
            for index, (name, parameter) in enumerate(inspect.signature(type(self)).parameters.items())
            if hasattr(self, name) and (index == 0 or getattr(self, name) != parameter.default)
        ]
        return f'{type(self).__name__}({", ".join(shown)})'


def is_beyond(value: float, below: float | None, above: float | None, unit: float = 1.0) -> bool:
    """Whether a value is below ``below`` or above ``above``, whichever is given, in multiples of ``unit``."""
    if below is not None:
        return value < below * unit
    return above is not None and value > above * unit
