"""The hook that saves checkpoints from which a resumed run is identical to an uninterrupted one."""

import time
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Gt
from mmengine.hooks import Hook
from mmengine.runner import Runner

from motivation.engine.optim.non_finite import check_weights
from motivation.errors import TrainingError
from motivation.registry import HOOKS
from motivation.utils.arguments import Count, checked
from motivation.utils.checkpoint import checkpoint_name, find_checkpoints
from motivation.utils.distributed import decide_once


@HOOKS.register_module()
class DualCheckpointHook(Hook):
    """Saves ``epoch_<n>.pth`` after an epoch and its validation, optionally more often, and on interruption.

    A checkpoint saved within epoch n + 1 is ``epoch_<n>_iter_<batches done>.pth``. MMEngine's own hook saves before
    validation, so that a resumed run would lack its results.

    Args:
        interval: Epochs between checkpoints; the last epoch is always saved. Default: 1.
        every_iters: Batches between additional checkpoints; ``None`` (default) for no such checkpoints.
        every_minutes: Minutes between additional checkpoints; ``None`` (default) for no such checkpoints.
        max_keep: Number of newest checkpoints to keep, at least 1. Default: 2.
        on_write_error: What to do when a checkpoint cannot be written: ``'continue'`` (default) keeps the older
            checkpoints, shows a message and trains on; ``'stop'`` raises :class:`TrainingError`.

    Raises:
        ConfigError: A value is out of range.

    Example:
        >>> default_hooks = dict(checkpoint=dict(type='DualCheckpointHook', interval=5, every_minutes=20))
    """

    priority = 'VERY_LOW'

    @checked
    def __init__(
        self,
        interval: Count = 1,
        every_iters: Count | None = None,
        every_minutes: Annotated[float, Gt(0)] | None = None,
        max_keep: Count = 2,
        on_write_error: Literal['continue', 'stop'] = 'continue',
    ) -> None:
        self.interval = interval
        self.every_iters = every_iters
        self.every_minutes = every_minutes
        self.max_keep = max_keep
        self.on_write_error = on_write_error
        self._saved_at = 0.0
        self._saved: str | None = None

    def before_train(self, runner: Runner) -> None:
        runner.checkpointer.check_state()
        self._saved_at = decide_once(time.monotonic)  # rank 0's clock, so that all processes decide alike

    def between_iters(self, runner: Runner) -> None:
        """Save within an epoch, if a checkpoint is due."""
        due = self.every_iters is not None and runner.iter % self.every_iters == 0
        if self.every_minutes is not None:
            due = due or runner.last_step.clock - self._saved_at >= 60 * self.every_minutes
        if due:
            self._save(runner, runner.iter)
            self._saved_at = decide_once(time.monotonic)

    def after_epoch(self, runner: Runner) -> None:
        """Save after an epoch, if a checkpoint is due."""
        if runner.epoch % self.interval == 0 or runner.epoch == runner.max_epochs or runner.train_loop.stop_training:
            self._save(runner)
            self._saved_at = decide_once(time.monotonic)

    def before_interruption(self, runner: Runner) -> None:
        """Save a checkpoint when the run is interrupted, and show its name."""
        within = runner.train_loop.validation_due or runner.train_loop.is_within_epoch
        if self._save(runner, runner.iter if within else None):
            runner.announce(f"saved '{Path(runner.work_dir) / str(self._saved)}'; continue with --resume")

    def _save(self, runner: Runner, iteration: int | None = None) -> bool:
        """Save a checkpoint and return whether the current state is on disk."""
        name = checkpoint_name(runner.epoch - runner.train_loop.validation_due, iteration)
        check_weights(runner.model)
        if name == self._saved:
            return True
        folder = Path(runner.work_dir)
        try:
            runner.save_checkpoint(folder, name)
        except OSError as error:
            kept = ', '.join(f"'{path.name}'" for path in find_checkpoints(folder)) or 'nothing'
            problem = f"'{folder / name}' cannot be written ({error.strerror or error}); still there: {kept}"
            if self.on_write_error == 'stop':
                raise TrainingError(f'{problem}; training stops: make room, then --resume') from error
            runner.announce(f'{problem}; training goes on: make room')
            runner.unwritten['the last checkpoint'] = error.strerror or str(error)
            return False
        self._saved = name
        runner.unwritten.pop('the last checkpoint', None)
        if runner.rank == 0:
            for old in find_checkpoints(folder)[: -self.max_keep]:
                old.unlink()
        return True
