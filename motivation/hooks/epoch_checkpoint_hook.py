"""Saves a checkpoint when an epoch is complete, validation included."""

from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import Runner

from motivation.engine.checkpoint import find_checkpoints
from motivation.errors import ConfigError
from motivation.registry import HOOKS


@HOOKS.register_module()
class EpochCheckpointHook(Hook):
    """Saves ``epoch_<n>.pth`` in the work_dir after epoch n and its validation; keeps the newest.

    MMEngine's own hook saves before validation, whose result a resumed run would then lack.

    Args:
        interval: Save every so many epochs; the last epoch is always saved.
        max_keep: Newest checkpoints kept, at least 1.

    Raises:
        ConfigError: ``interval`` or ``max_keep`` is below 1.

    Example:
        >>> default_hooks = dict(checkpoint=dict(type='EpochCheckpointHook', interval=1, max_keep=2))
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: int = 1, max_keep: int = 2) -> None:
        for name, value in (('interval', interval), ('max_keep', max_keep)):
            if value < 1:
                raise ConfigError(f'default_hooks.checkpoint.{name} is {value!r}; it must be at least 1')
        self.interval = interval
        self.max_keep = max_keep
        self._begun_at = 0

    def before_train(self, runner: Runner) -> None:
        self._begun_at = runner.epoch

    def before_train_epoch(self, runner: Runner) -> None:
        if runner.epoch > self._begun_at and runner.epoch % self.interval == 0:
            self._save(runner)

    def after_train(self, runner: Runner) -> None:
        if runner.epoch > self._begun_at:
            self._save(runner)

    def _save(self, runner: Runner) -> None:
        runner.save_checkpoint(
            runner.work_dir,
            f'epoch_{runner.epoch}.pth',
            by_epoch=False,
            meta={'epoch': runner.epoch, 'iter': runner.iter},
        )
        if runner.rank != 0:
            return
        for old in find_checkpoints(Path(runner.work_dir))[: -self.max_keep]:
            old.unlink()
