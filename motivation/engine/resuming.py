"""A run that goes on under another config: its optimizers and schedules, its epochs, and whether it is finished."""

import copy
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from motivation.config.same_run import describe_hooks
from motivation.errors import ConfigError

# Where a config differs, a schedule or the values of an optimizer may.
_OF_OPTIMIZERS = (
    'optim_wrapper',
    'param_scheduler',
    'auto_scale_lr',
    'processes',
    'train_cfg.max_epochs',
    'train_dataloader.batch_size',
)

# How far a schedule that follows a metric has come.
_PROGRESS = ('best', 'num_bad_epochs', 'cooldown_counter', 'last_step', '_global_step')

Schedules = Mapping[str, Sequence[Any]]


def concerns_optimizers(changes: Sequence[str]) -> bool:
    """Whether optimizers or schedules may differ where these fields of a config do."""
    return any(field.startswith(_OF_OPTIMIZERS) for field in changes)


def check_epoch_length(runner: Any, meta: dict[str, Any], filename: str) -> list[str]:
    """Refuse epochs of another length than in a checkpoint, unless they may change and can.

    Args:
        runner: The runner, before it stands where the checkpoint does.
        meta: The ``meta`` of the checkpoint.
        filename: For the message.

    Returns:
        The field that differs where they may, else none.

    Raises:
        ConfigError: They may not, or cannot: within an epoch, or under a schedule that counts batches.
    """
    now = len(runner.train_dataloader)
    before = meta.get('epoch_length', now)
    if now == before:
        return []
    said = f"an epoch of train_dataloader has {now:,} batches, and had {before:,} in '{filename}'"
    if not runner.cfg.get('allow_changes'):
        raise ConfigError(
            f'{said}; a resumed run goes on as it began: give the same images and batch_size, or go on all the same with '
            '--allow-changes'
        )
    if meta['iter'] != meta['epoch_begin']:
        raise ConfigError(f'{said}, which lies within an epoch; keep its length to the end of that epoch')
    if any(not one.by_epoch for one in chain.from_iterable((runner.param_schedulers or {}).values())):
        raise ConfigError(f'{said}, and param_scheduler counts batches; keep the length, or let it count epochs')
    runner.tell(f'going on though {said}')
    return ['train_dataloader.batch_size']


def resume_finished(runner: Any, changes: Sequence[str]) -> None:
    """Leave a run that has stopped early finished, unless its config is changed.

    Args:
        runner: The runner, standing where the checkpoint does.
        changes: The fields that differ.
    """
    loop = runner.train_loop
    if loop.stop_training and changes:
        loop.stop_training = False
        runner.tell(f'going on though the run stopped early after epoch {runner.epoch}')
    if changes and not loop.stop_training and runner.epoch >= runner.max_epochs:
        runner.tell(
            f'{runner.epoch} epochs are over, and train_cfg.max_epochs is {runner.max_epochs}: nothing is left to train'
        )
    elif loop.stop_training:
        runner.tell(
            f'the run stopped early after epoch {runner.epoch} and stays finished; with another config, such as a longer '
            'train_cfg.max_epochs or another patience, and --allow-changes it goes on'
        )


def check_hooks(runner: Any, meta: dict[str, Any]) -> list[str]:
    """Say that a run goes on with other hooks, or other arguments of them, where it may; else that is no matter.

    Args:
        runner: The runner.
        meta: The ``meta`` of the checkpoint.

    Returns:
        The field that differs where changes are allowed, else none.
    """
    before = meta.get('hooks')
    if before is None or not runner.cfg.get('allow_changes') or before == describe_hooks(runner.cfg):
        return []
    runner.tell('going on though default_hooks or custom_hooks are others')
    return ['custom_hooks']


def load_unchanged(wrappers: Mapping[str, OptimWrapper], schedules: Schedules, checkpoint: dict[str, Any]) -> None:
    """Restore optimizers and schedules of the same config."""
    for name, wrapper in wrappers.items():
        wrapper.load_state_dict(dict(checkpoint['optimizer'][name]))
        for scheduler, state in zip(schedules.get(name, ()), checkpoint['param_schedulers'].get(name, ()), strict=True):
            scheduler.load_state_dict(state)


class Unstarted:
    """Optimizers and schedules as the config of now has built them, before anything is restored.

    From there a run goes on under that config: each parameter keeps its momentum or moments, and what
    the config says (learning rate, decay, schedule, ...) holds as if it had from the first batch on.

    Args:
        wrappers: The optimizer wrapper of each model.
        schedules: The schedules of each.
    """

    def __init__(self, wrappers: Mapping[str, OptimWrapper], schedules: Schedules) -> None:
        self.wrappers = wrappers
        self.schedules = schedules
        self._groups = {name: [_values(group) for group in wrapper.param_groups] for name, wrapper in wrappers.items()}
        self._states = {name: [_state(one) for one in several] for name, several in schedules.items()}

    def go_on(
        self, checkpoint: dict[str, Any], changes: Sequence[str], epoch_length: int, rollback_factor: float
    ) -> list[str]:
        """Bring optimizers and schedules to where a checkpoint of another config stands.

        Args:
            checkpoint: The checkpoint.
            changes: The fields that differ.
            epoch_length: Batches of an epoch.
            rollback_factor: What rollbacks have made of the learning rate; it holds on unless that is changed.

        Returns:
            Sentences about what could not be kept.

        Raises:
            ConfigError: A schedule that follows a metric is one of several for the same value.
        """
        said = []
        for name, wrapper in self.wrappers.items():
            saved = checkpoint['optimizer'][name]
            for group, values in zip(wrapper.param_groups, self._groups[name], strict=True):
                group.update(copy.deepcopy(values))
            if not _take_over(wrapper, saved, _keeps_type(name, changes)):
                said.append(
                    f'the optimizer of the {name} model begins without the momentum or moments of the checkpoint'
                )
            if 'loss_scaler' in saved and hasattr(wrapper, 'loss_scaler'):
                wrapper.loss_scaler.load_state_dict(saved['loss_scaler'])
            schedule = self.schedules.get(name, ())
            for scheduler, state in zip(schedule, self._states.get(name, ()), strict=True):
                scheduler.load_state_dict(copy.deepcopy(state))
            _advance(schedule, checkpoint['meta']['epoch'], checkpoint['meta']['iter'], epoch_length)
            follows = _follow_metrics(wrapper, schedule, checkpoint, name)
            if not follows and not any(field.rpartition('.')[2] == 'lr' for field in changes):
                scale_rate(wrapper, schedule, rollback_factor)
        return said


def scale_rate(wrapper: OptimWrapper, schedule: Sequence[Any], factor: float) -> None:
    """Multiply the learning rate of one optimizer, now and all along its schedule."""
    if factor == 1:
        return
    for group in wrapper.param_groups:
        for field in ('lr', 'initial_lr'):
            if field in group:
                group[field] *= factor
    for scheduler in schedule:
        if scheduler.param_name == 'lr' and hasattr(scheduler, 'base_values'):
            scheduler.base_values = [value * factor for value in scheduler.base_values]


def _values(group: dict[str, Any]) -> dict[str, Any]:
    return {field: copy.deepcopy(value) for field, value in group.items() if field != 'params'}


def _state(scheduler: Any) -> dict[str, Any]:
    return copy.deepcopy(scheduler.state_dict())


def _keeps_type(name: str, changes: Sequence[str]) -> bool:
    return not any(re.fullmatch(rf'optim_wrapper(\.{name})?\.optimizer\.type', field) for field in changes)


def _take_over(wrapper: OptimWrapper, saved: dict[str, Any], keeps_type: bool) -> bool:
    """Give each parameter the optimizer's state of a checkpoint; ``False`` if it does not fit."""
    optimizer, state = wrapper.optimizer, saved['state']
    parameters = [parameter for group in optimizer.param_groups for parameter in group['params']]
    fits = keeps_type and sum(len(group['params']) for group in saved['param_groups']) == len(parameters)
    needed = _state_fields(optimizer) if state else set()
    fits = fits and all(
        needed <= entry.keys() and all(_is_of(value, parameters[index]) for value in entry.values())
        for index, entry in state.items()
    )
    own = optimizer.state_dict()
    optimizer.load_state_dict({**own, 'state': state if fits else {}})
    return fits or not state


def _is_of(value: Any, parameter: nn.Parameter) -> bool:
    """Whether a value of a parameter's state can be of it: a number, or of its shape."""
    return not isinstance(value, torch.Tensor) or value.ndim == 0 or value.shape == parameter.shape


def _state_fields(optimizer: torch.optim.Optimizer) -> set[str]:
    """What an optimizer keeps of each parameter, found by a step of another one of its kind."""
    parameter = nn.Parameter(torch.ones(2, 2))
    parameter.grad = torch.ones(2, 2)
    kind: Any = type(optimizer)
    try:
        probe = kind([{**_values(optimizer.param_groups[0]), 'params': [parameter]}])
        probe.step()
    except Exception:  # one that needs more than that
        return set()
    return {field for field, value in probe.state[parameter].items() if value is not None}


def _advance(schedule: Sequence[Any], epochs: int, iters: int, epoch_length: int) -> None:
    """Step schedules as often as training has, in its order: after each batch, and after each epoch."""
    by_iter = [scheduler for scheduler in schedule if not scheduler.by_epoch]
    by_epoch = [scheduler for scheduler in schedule if scheduler.by_epoch]
    for epoch in range(epochs + 1):
        for _ in range(min(epoch_length, iters - epoch * epoch_length) if by_iter else 0):
            for scheduler in by_iter:
                scheduler.step()
        if epoch < epochs:
            for scheduler in by_epoch:
                scheduler.step()


def _follow_metrics(wrapper: OptimWrapper, schedule: Sequence[Any], checkpoint: dict[str, Any], name: str) -> bool:
    """Let schedules that follow a metric keep what they have seen, and lowered; whether there are any."""
    before, saved = checkpoint['param_schedulers'].get(name, ()), checkpoint['optimizer'][name]
    following = [scheduler for scheduler in schedule if getattr(scheduler, 'need_val_args', False)]
    for scheduler in following:
        field = scheduler.param_name
        old = [state for state in before if state['param_name'] == field]
        known = [state for state in old if 'monitor' in state and state['monitor'] == scheduler.monitor]
        if len([one for one in schedule if one.param_name == field]) > 1 or (known and len(old) > 1):
            raise ConfigError(
                f'param_scheduler has {type(scheduler).__name__}, which follows a metric, beside another schedule of {field}, '
                'under which what it has lowered so far is not known; resume with the same optim_wrapper and '
                'param_scheduler, or begin a new run with load_from'
            )
        for state in known[:1]:
            scheduler.load_state_dict({key: state[key] for key in _PROGRESS if key in state})
            group = saved['param_groups'][0]
            lowered = group[field] / group[f'initial_{field}'] if group.get(f'initial_{field}') else 1.0
            for own in wrapper.param_groups:
                own[field] *= lowered
            meta, last = checkpoint['meta'], checkpoint['motivation']['metrics']
            ended = not meta['validation_due'] and min(meta['epoch'], state['_global_step']) >= state['end']
            if ended and last is not None:  # where a schedule ends with the run, its last validation is not told to it
                scheduler.step(last)
    return bool(following)
