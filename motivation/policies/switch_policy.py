"""The interface of every switch policy."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any


class SwitchPolicy(ABC):
    """Base class of policies, which decide after every batch which model trains on the next one.

    A policy is plain Python and knows neither the runner nor the models. :meth:`update` receives the training loss
    of every batch, in order, whichever model produced it, and the signals it has parameters for;
    ``docs/policies.md`` lists them. :meth:`state_dict` must return everything that the policy remembers between
    batches, so that a resumed run makes the same decisions as an uninterrupted one.
    """

    # Whether the policy guarantees something about the whole run. It must then be the outermost policy.
    bounds_run = False

    @abstractmethod
    def update(self, loss: float, *args: Any, **signals: Any) -> bool:
        """Decide which model trains on the next batch, given the loss of the last one.

        Args:
            loss: Mean training loss of the batch over all processes.
            *args: Not used. A policy declares ``update(self, loss)``, or adds the signals that it needs, such as
                ``update(self, loss, grad_norm, epoch)``.
            **signals: The declared signals, by name.

        Returns:
            Whether the motivated model trains on the next batch.
        """

    @property
    def signals(self) -> frozenset[str]:
        """Names of the signals that :meth:`update` receives besides the loss: its other parameters."""
        _, *others = inspect.signature(self.update).parameters.values()
        return frozenset(p.name for p in others if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))

    @property
    def signal_options(self) -> Mapping[str, Mapping[str, Any]]:
        """Options of signals that :meth:`update` receives, by name of the signal; none by default."""
        return {}

    def set_seed(self, seed: int) -> None:  # noqa: B027, a policy without randomness needs none
        """Set the seed of a random policy; called once before training with the seed of the run."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that :meth:`update` remembers, as plain Python values."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
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
