"""Makes an epoch's randomness a function of the seed and the epoch alone."""

import random

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from motivation.registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seeds Python, numpy and torch from (seed, epoch, rank) before each training epoch.

    So an epoch is the same whether training came to it without a break or resumed there, and
    whatever validation drew before it.

    Example:
        >>> default_hooks = dict(epoch_seed=dict(type='EpochSeedHook'))
    """

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner: Runner) -> None:
        python_seed, numpy_seed, torch_seed = np.random.SeedSequence(
            [runner.seed, runner.epoch, runner.rank]
        ).generate_state(3)
        random.seed(int(python_seed))
        np.random.seed(numpy_seed)
        torch.manual_seed(int(torch_seed))
