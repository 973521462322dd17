"""Resuming the run in the folder ``run`` with other options."""

import pytest
from mmengine.hooks import Hook

from motivation.engine.runner import DualModelRunner
from tests.conftest import tiny_config


class Stop(Hook):
    """Stops a run before a batch, as a crash does, and keeps its state there."""

    priority = 'VERY_LOW'

    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            raise InterruptedError


def resumed(iteration=12, epochs=4, allow_changes=True, schedulers=None, **options):
    """Return the run resumed with other options and stopped before a batch."""
    config = tiny_config('run', epochs, **options)
    config.resume, config.allow_changes = True, allow_changes
    if schedulers is not None:
        config.param_scheduler = schedulers
    runner = DualModelRunner.from_cfg(config)
    runner.register_hook(Stop(iteration))
    with pytest.raises(InterruptedError):
        runner.train()
    return runner
