"""Optimizers and schedules of a run that resumes with a changed config."""

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from motivation.errors import ConfigError

# Prefixes of the fields that may change an optimizer or a schedule.
_OF_OPTIMIZERS = (
    'optim_wrapper',
    'param_scheduler',
    'auto_scale_lr',
    'processes',
    'train_cfg.max_epochs',
    'train_dataloader.batch_size',
)

# State of a schedule that follows a metric.
_PROGRESS = ('best', 'num_bad_epochs', 'cooldown_counter', 'last_step', '_global_step')

Schedules = Mapping[str, Sequence[Any]]


def concerns_optimizers(changes: Sequence[str]) -> bool:
    """Return whether changes of these fields may change an optimizer or a schedule."""
    return any(field.startswith(_OF_OPTIMIZERS) for field in changes)


class RebuiltOptimizers:
    """Optimizers and schedules as built from the current config, before anything is restored.

    A run that resumes with a changed config keeps the momentum or moments of each parameter. The values of the config
    (learning rate, decay, schedule, ...) apply as if they had from the first batch on.

    Args:
        wrappers: The optimizer wrapper of each model.
        schedules: The schedules of each model.
    """

    def __init__(self, wrappers: Mapping[str, OptimWrapper], schedules: Schedules) -> None:
        self.wrappers = wrappers
        self.schedules = schedules
        self._groups = {name: [_values(group) for group in wrapper.param_groups] for name, wrapper in wrappers.items()}
        self._states = {
            name: [copy.deepcopy(scheduler.state_dict()) for scheduler in entry] for name, entry in schedules.items()
        }

    def advance(
        self, checkpoint: dict[str, Any], changes: Sequence[str], epoch_length: int, rollback_factor: float
    ) -> list[str]:
        """Advance optimizers and schedules to the iteration of a checkpoint of another config.

        Args:
            checkpoint: The checkpoint.
            changes: The fields that differ.
            epoch_length: Batches of an epoch.
            rollback_factor: Factor of past rollbacks on the learning rate, applied unless the learning rate has changed.

        Returns:
            Sentences about state that could not be kept.

        Raises:
            ConfigError: A schedule that follows a metric is one of several for the same value.
        """
        messages = []
        for name, wrapper in self.wrappers.items():
            saved = checkpoint['optimizer'][name]
            for group, values in zip(wrapper.param_groups, self._groups[name], strict=True):
                group.update(copy.deepcopy(values))
            if not _take_over(wrapper, saved, _keeps_type(name, changes)):
                messages.append(
                    f'the optimizer of the {name} model begins without the momentum or moments of the checkpoint'
                )
            scaler = getattr(wrapper, 'scaler', None)
            if scaler is not None and 'loss_scaler' in saved:
                scaler.load_state_dict(saved['loss_scaler'])
            schedule = self.schedules.get(name, ())
            for scheduler, state in zip(schedule, self._states.get(name, ()), strict=True):
                scheduler.load_state_dict(copy.deepcopy(state))
            _advance(schedule, checkpoint['train_loop']['epoch'], checkpoint['train_loop']['iter'], epoch_length)
            follows = _follow_metrics(wrapper, schedule, checkpoint, name)
            if not follows and not any(field.rpartition('.')[2] == 'lr' for field in changes):
                scale_rate(wrapper, schedule, rollback_factor)
        return messages


def scale_rate(wrapper: OptimWrapper, schedule: Sequence[Any], factor: float) -> None:
    """Multiply the learning rate of one optimizer by a factor, now and in its schedule."""
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


def _keeps_type(name: str, changes: Sequence[str]) -> bool:
    return not any(re.fullmatch(rf'optim_wrapper(\.{name})?\.optimizer\.(type|opt)', field) for field in changes)


def _take_over(wrapper: OptimWrapper, saved: dict[str, Any], keeps_type: bool) -> bool:
    """Restore the optimizer state of each parameter, and return whether it fits; otherwise the state is empty."""
    optimizer, state = wrapper.optimizer, saved['state']
    parameters = [parameter for group in optimizer.param_groups for parameter in group['params']]
    fits = keeps_type and sum(len(group['params']) for group in saved['param_groups']) == len(parameters)
    places = _places(saved['param_groups'], optimizer.param_groups, len(parameters))
    fits = fits and places is not None
    state = {places[index]: entry for index, entry in state.items()} if fits and places else state
    needed = _state_fields(optimizer) if state else set()
    fits = fits and all(
        needed <= entry.keys() and all(_is_of(value, parameters[index]) for value in entry.values())
        for index, entry in state.items()
    )
    optimizer.load_state_dict({**optimizer.state_dict(), 'state': state if fits else {}})
    return fits or not state


def _places(saved: Sequence[dict[str, Any]], groups: Sequence[dict[str, Any]], count: int) -> list[int] | None:
    """Return where each parameter of a checkpoint is now, or ``None`` if that is not known.

    Groups of :class:`~motivation.engine.optim.parameter_groups.ParameterGroups` have the names of their parameters; all
    others are in the order of the model.
    """
    before, now = ([name for group in part for name in group.get('param_names', ())] for part in (saved, groups))
    if not before and not now:
        return list(range(count))
    return [now.index(name) for name in before] if sorted(before) == sorted(now) else None


def _is_of(value: Any, parameter: nn.Parameter) -> bool:
    """Return whether a value can belong to a parameter's state: a number, or a tensor of the parameter's shape."""
    return not isinstance(value, torch.Tensor) or value.ndim == 0 or value.shape == parameter.shape


def _state_fields(optimizer: torch.optim.Optimizer) -> set[str]:
    """Return the names of an optimizer's state of each parameter, found by a step of another optimizer of its class."""
    parameter = nn.Parameter(torch.ones(2, 2))
    parameter.grad = torch.ones(2, 2)
    cls: Any = type(optimizer)
    try:
        probe = cls([{**_values(optimizer.param_groups[0]), 'params': [parameter]}])
        probe.step()
    except Exception:  # a user-defined class may need other arguments
        return set()
    return {field for field, value in probe.state[parameter].items() if value is not None}


def _advance(schedule: Sequence[Any], epochs: int, iters: int, epoch_length: int) -> None:
    """Step schedules as often as training has, in the same order."""
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
    """Restore the schedules that follow a metric and the values they have lowered; return whether there are any."""
    before, saved = checkpoint['param_schedulers'].get(name, ()), checkpoint['optimizer'][name]
    following = [scheduler for scheduler in schedule if getattr(scheduler, 'need_val_args', False)]
    for scheduler in following:
        field = scheduler.param_name
        old = [state for state in before if state['param_name'] == field]
        known = [state for state in old if 'monitor' in state and state['monitor'] == scheduler.monitor]
        if sum(other.param_name == field for other in schedule) > 1 or (known and len(old) > 1):
            raise ConfigError(
                f'param_scheduler has {type(scheduler).__name__}, which follows a metric, and another schedule of {field}, so '
                'that its own reductions so far are not known; resume with the same optim_wrapper and '
                'param_scheduler, or begin a new run with load_from'
            )
        for state in known[:1]:
            scheduler.load_state_dict({key: state[key] for key in _PROGRESS if key in state})
            group = saved['param_groups'][0]
            lowered = group[field] / group[f'initial_{field}'] if group.get(f'initial_{field}') else 1.0
            for current in wrapper.param_groups:
                current[field] *= lowered
            loop, last = checkpoint['train_loop'], checkpoint['motivation']['metrics']
            ended = not loop['validation_due'] and min(loop['epoch'], state['_global_step']) >= state['end']
            if ended and last is not None:  # a schedule that ends with the run has not received the last validation
                scheduler.step(last)
    return bool(following)
