"""Optimizers and schedules of a run that goes on under another config."""

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import nn

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


class RebuiltOptimizers:
    """Optimizers and schedules as the current config has built them, before anything is restored.

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

    def advance(
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
            _advance(schedule, checkpoint['train_loop']['epoch'], checkpoint['train_loop']['iter'], epoch_length)
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
            loop, last = checkpoint['train_loop'], checkpoint['motivation']['metrics']
            ended = not loop['validation_due'] and min(loop['epoch'], state['_global_step']) >= state['end']
            if ended and last is not None:  # where a schedule ends with the run, its last validation is not told to it
                scheduler.step(last)
    return bool(following)
