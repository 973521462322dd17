"""Makes a batch's randomness a function of the seed and the batch alone."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from motivation.registry import HOOKS
from motivation.utils.random_state import seed_everything


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds Python, numpy and torch from (seed, iteration, rank) before each training batch.

    So mixing, dropout and stochastic depth are the same whether training came to a batch without a
    break or resumed there, and whatever was drawn before it.

    Example:
        >>> default_hooks = dict(iteration_seed=dict(type='IterationSeedHook'))
    """

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        seed_everything(runner.seed, runner.iter, runner.rank)
