"""The two baselines, which train a single model."""

from motivation.policies.switch_policy import SwitchPolicy
from motivation.registry import POLICIES


@POLICIES.register_module()
class Never(SwitchPolicy):
    """A policy that never activates the motivated model: the base model trains alone.

    Example:
        >>> motivation = dict(policy=dict(type='Never'))
    """

    def update(self, loss: float) -> bool:
        return False


@POLICIES.register_module()
class Always(SwitchPolicy):
    """A policy that keeps the motivated model active: it trains alone, except for the first batch of the run.

    Example:
        >>> motivation = dict(policy=dict(type='Always'))
    """

    def update(self, loss: float) -> bool:
        return True
