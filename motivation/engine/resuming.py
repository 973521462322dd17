"""Resuming a run: reading a checkpoint, comparing it with the run, and restoring it, also with a changed config."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device

from motivation.config.same_run import check_same_run, describe_hooks
from motivation.engine.beginning import with_new_heads
from motivation.engine.checkpointer import check_format
from motivation.engine.checks.class_checks import check_trained_classes
from motivation.engine.checks.target_checks import PART as CLASS_WEIGHTS
from motivation.engine.optim.rebuilt_optimizers import RebuiltOptimizers, concerns_optimizers, scale_rate
from motivation.engine.run_parts import register_parts, restored_pretraining
from motivation.engine.train_loop import ROLLBACK_FACTOR
from motivation.errors import ConfigError
from motivation.models.pretraining import LoadedRun
from motivation.utils.checkpoint import check_fits, find_checkpoints, name_checkpoints, newest_whole, read_checkpoint
from motivation.utils.logs import forget_later_steps


def find_resumed(named: str | None, work_dir: Path) -> Path:
    """Return the checkpoint to resume from: the named one, else the newest readable one of a work_dir.

    Raises:
        ConfigError: The work_dir has no readable checkpoint.
    """
    newest = Path(named) if named is not None else newest_whole(find_checkpoints(work_dir))[0]
    if newest is None:
        raise ConfigError(
            f"resume is True, and work_dir '{work_dir}' has no readable checkpoint; name one as load_from, or "
            'start a new run with resume=False'
        )
    return newest


def find_seed(config: Config) -> int | None:
    """Return the seed of the run that a config resumes.

    Raises:
        ConfigError: The run has no readable checkpoint.
    """
    path = find_resumed(config.get('load_from'), Path(config.work_dir))
    return read_checkpoint(path, keep=True)['meta'].get('seed')  # it is restored next


def read_for(runner: Any, path: Path, map_location: Any = 'cpu') -> dict[str, Any]:
    """Return a checkpoint, after checking that it fits the models and classes of a run.

    Args:
        runner: The runner.
        path: Local path of the checkpoint.
        map_location: See :func:`torch.load`.

    Raises:
        ConfigError: The file is missing, corrupted, or of other models or classes.
    """
    checkpoint = read_checkpoint(path, map_location)
    if 'config' in checkpoint:
        raise ConfigError(
            f"'{path}' is one exported model, and a checkpoint of both is needed, which with model.ema has their averages, too; "
            f'{name_checkpoints(path)}; or begin with it as the weights of model.base or model.motivated'
        )
    has_new_heads = False
    if runner.trains and not runner.resuming:
        checkpoint['state_dict'], has_new_heads = with_new_heads(runner, checkpoint['state_dict'], path)
    check_fits(checkpoint['state_dict'], runner.model, path)
    has_others = not has_new_heads and check_trained_classes(runner, checkpoint, path)
    if runner.trains and not runner.resuming:
        heads: Any = 'new' if has_new_heads else 'others' if has_others else 'kept'
        runner.model.pretraining = LoadedRun(str(path), heads)
    return checkpoint


def load_weights(runner: Any, checkpoint: dict[str, Any]) -> None:
    """Load the weights of both models from a checkpoint and, to evaluate them, their averages; a training begins its own."""
    runner.model.load_state_dict(checkpoint['state_dict'])
    averages = runner.model.averages
    if averages is not None and 'ema' in checkpoint and not runner.trains:
        averages.load_state_dict(checkpoint['ema'])


class Resumption:
    """Restores a run from its checkpoints.

    Args:
        runner: The runner, completely built, with nothing restored yet. Its parts are registered here.
    """

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        register_parts(runner)
        self._restart_averages()
        runner.checkpointer.settle()
        self._optimizers = RebuiltOptimizers(dict(runner.optim_wrapper.items()), runner.param_schedulers or {})

    def resume(self, path: Path) -> None:
        """Resume from a checkpoint of the run.

        Raises:
            ConfigError: The file is missing or corrupted, or has another format, other models, classes or config.
        """
        runner = self._runner
        checkpoint = read_for(runner, path, get_device())
        check_format(checkpoint, path)
        changes = self._changes(checkpoint, path)
        runner.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        left_as_built = _left_as_built(runner, changes)
        runner.model.pretraining = restored_pretraining(checkpoint['meta'])
        self._restart_averages()
        states = {name: checkpoint[name] for name in checkpoint['parts']}
        for clause in runner.checkpointer.load_state_dict(states, left_as_built):
            runner.announce(f"'{path}' {clause}")
        if 'optimizer' in left_as_built:
            loop = runner.train_loop
            factor = ROLLBACK_FACTOR**loop.rollbacks
            for sentence in self._optimizers.advance(checkpoint, changes, len(loop.dataloader), factor):
                runner.announce(sentence)
        _leave_finished(runner, changes)
        runner.logger.info(f'resumed from {path}, epoch: {runner.epoch}, iter: {runner.iter}')
        if runner.rank == 0:
            forget_later_steps(runner.visualizer, Path(runner.log_dir), runner.iter)

    def roll_back(self, path: Path) -> None:
        """Restore a checkpoint of the run, with the learning rate lowered by the rollbacks since then."""
        loop, rollbacks = self._runner.train_loop, self._runner.train_loop.rollbacks
        self.resume(path)
        factor = ROLLBACK_FACTOR ** (rollbacks - loop.rollbacks)
        loop.rollbacks = rollbacks
        for name, wrapper in self._runner.optim_wrapper.items():
            scale_rate(wrapper, (self._runner.param_schedulers or {}).get(name, ()), factor)

    def _restart_averages(self) -> None:
        """Begin averages anew, also after a user loaded weights, or in a return to a checkpoint that has none."""
        if self._runner.model.averages is not None:
            self._runner.model.averages.restart()

    def _changes(self, checkpoint: dict[str, Any], path: Path) -> list[str]:
        """Announce and return the fields in which the config differs from the checkpoint's."""
        runner, meta = self._runner, checkpoint['meta']
        changes = check_same_run(runner.cfg, meta['run'], path)
        if changes:
            runner.announce(f'resuming although {", ".join(changes.values())}')
        return [*changes, *_check_epoch_length(runner, checkpoint['train_loop'], path), *_check_hooks(runner, meta)]


def _left_as_built(runner: Any, changes: Sequence[str]) -> set[str]:
    """Return the names of the parts that are not restored, because their config differs."""
    parts = {'optimizer', 'param_schedulers'} if concerns_optimizers(changes) else set()
    if any(field.startswith('motivation.policy') and field.endswith('type') for field in changes):
        # Another policy, or others inside it, cannot use their state.
        runner.announce(f'{runner.checkpointer.parts["policy"]!r} begins with its initial state')
        parts.add('policy')
    if any(
        field.startswith(('train_dataloader.dataset', 'model.base.loss', 'model.motivated.loss')) for field in changes
    ):
        parts.add(CLASS_WEIGHTS)  # counted anew
    return parts


def _check_epoch_length(runner: Any, before: dict[str, Any], path: Path) -> list[str]:
    """Check that the epochs have the same length as in a checkpoint, or may change.

    Args:
        runner: The runner, before it is restored.
        before: State of its training loop in the checkpoint.
        path: Path of the checkpoint, for messages.

    Returns:
        The field that differs, if any.

    Raises:
        ConfigError: The length differs without ``allow_changes``, within an epoch, or with a schedule that counts
            batches.
    """
    now = len(runner.train_dataloader)
    if now == before['epoch_length']:
        return []
    change = f"an epoch of train_dataloader has {now:,} batches, and had {before['epoch_length']:,} in '{path}'"
    if not runner.cfg.get('allow_changes'):
        raise ConfigError(
            f'{change}; a resumed run needs the same length: give the same images and batch_size, or resume with '
            '--allow-changes'
        )
    if before['iter'] != before['epoch_begin']:
        raise ConfigError(f'{change}, which lies within an epoch; keep its length to the end of that epoch')
    if any(not scheduler.by_epoch for scheduler in chain.from_iterable((runner.param_schedulers or {}).values())):
        raise ConfigError(f'{change}, and param_scheduler counts batches; keep the length, or let it count epochs')
    runner.announce(f'resuming although {change}')
    return ['train_dataloader.batch_size']


def _leave_finished(runner: Any, changes: Sequence[str]) -> None:
    """Keep a run that has stopped early finished, unless its config has changed, and announce it.

    Args:
        runner: The runner, restored.
        changes: The fields that differ.
    """
    loop = runner.train_loop
    if loop.stop_training and changes:
        loop.stop_training = False
        runner.announce(f'resuming although the run stopped early after epoch {runner.epoch}')
    if changes and not loop.stop_training and runner.epoch >= runner.max_epochs:
        runner.announce(
            f'{runner.epoch} epochs are over, and train_cfg.max_epochs is {runner.max_epochs}: nothing is left to train'
        )
    elif loop.stop_training:
        runner.announce(
            f'the run stopped early after epoch {runner.epoch} and stays finished; to continue it, change the config, such as '
            'train_cfg.max_epochs or the patience, and add --allow-changes'
        )


def _check_hooks(runner: Any, meta: dict[str, Any]) -> list[str]:
    """Announce, if changes are allowed, that the hooks differ from those of a checkpoint with this ``meta``.

    Returns:
        The field that differs, if any; without ``allow_changes`` hooks may differ.
    """
    if not runner.cfg.get('allow_changes') or meta['hooks'] == describe_hooks(runner.cfg):
        return []
    runner.announce('resuming although default_hooks or custom_hooks have changed')
    return ['custom_hooks']
