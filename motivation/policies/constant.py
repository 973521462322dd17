"""The two baselines: one model trains throughout."""

from motivation.policies.switch_policy import SwitchPolicy
from motivation.registry import POLICIES


@POLICIES.register_module()
class Never(SwitchPolicy):
    """Never wakes the motivated model: the base model's standalone training.

    Example:
        >>> motivation = dict(policy=dict(type='Never'))
    """

    def update(self, loss: float) -> bool:
        return False


@POLICIES.register_module()
class Always(SwitchPolicy):
    """Wakes the motivated model after the first batch and keeps it awake: its standalone training.

    The first batch of every run is the base model's.

    Example:
        >>> motivation = dict(policy=dict(type='Always'))
    """

    def update(self, loss: float) -> bool:
        return True
