"""The paper's motivation condition."""

from typing import Any

from motivation.errors import ConfigError
from motivation.policies.switch_policy import SwitchPolicy
from motivation.registry import POLICIES


@POLICIES.register_module()
class ConsecutiveDrop(SwitchPolicy):
    """Wakes the motivated model once the loss has dropped for ``drops`` consecutive batches.

    Each loss is compared with the loss of the batch before, whichever model made it. The motivated
    model stays active while the loss goes on dropping; the first batch that does not drop ends the
    spell. An equal loss is not a drop, nor is one that is not a number.

    Source: "Motivation is Something You Need", arXiv 2602.21064. Were the losses independent noise,
    ``drops`` in a row would happen after 1 / (drops + 1)! of batches.

    Args:
        drops: Consecutive drops required, at least 1.

    Raises:
        ConfigError: ``drops`` is not a whole number of at least 1.

    Example:
        >>> motivation = dict(policy=dict(type='ConsecutiveDrop', drops=2))
    """

    def __init__(self, drops: int = 2) -> None:
        if not isinstance(drops, int) or isinstance(drops, bool) or drops < 1:
            raise ConfigError(f'motivation.policy.drops is {drops!r}; it must be a whole number of at least 1')
        self.drops = drops
        self.streak = 0
        self.previous: float | None = None

    def update(self, loss: float) -> bool:
        dropped = self.previous is not None and loss < self.previous
        self.streak = self.streak + 1 if dropped else 0
        self.previous = loss
        return self.streak >= self.drops

    def state_dict(self) -> dict[str, Any]:
        return {'streak': self.streak, 'previous': self.previous}
