"""The hook that seeds every training batch."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from motivation.registry import HOOKS
from motivation.utils.random_state import seed_everything


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds Python, NumPy and PyTorch from (seed, iteration, rank) before each training batch.

    Mixing, dropout and stochastic depth are therefore the same in a resumed run as in an uninterrupted one, whatever
    random numbers were drawn before.

    Example:
        >>> default_hooks = dict(iteration_seed=dict(type='IterationSeedHook'))
    """

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        seed_everything(runner.seed, runner.iter, runner.rank)
