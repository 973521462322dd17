"""Scaling a schedule to another number of epochs."""

from typing import Any

from mmengine.config import Config

from motivation.errors import ArgumentError

# Fields of MMEngine's schedulers that hold epochs, or lists of them.
_EPOCH_FIELDS = ('begin', 'end', 'T_max', 'step_size', 'milestones', 'periods', 'restarts', 'total_steps')


def scale_epochs(config: Config, epochs: int) -> None:
    """Set the number of epochs of a config, and scale its schedules by the same factor, in place.

    Scaled epochs are rounded; those of at least 1 stay at least 1, and a phase keeps at least one epoch.

    Args:
        config: The config; ``train_cfg.max_epochs`` and ``param_scheduler`` change.
        epochs: Number of epochs, at least 1.

    Raises:
        ArgumentError: ``epochs`` is not an integer of at least 1.
    """
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
        raise ArgumentError('epochs', f'must be a whole number of at least 1, got {epochs!r}')
    factor = epochs / config.train_cfg.max_epochs
    config.train_cfg.max_epochs = epochs
    for scheduler in _schedulers(config.get('param_scheduler')):
        if not scheduler.get('by_epoch', True):
            continue
        for field in _EPOCH_FIELDS:
            if scheduler.get(field) is not None:
                scheduler[field] = _scale(scheduler[field], factor)
        begin, end = scheduler.get('begin'), scheduler.get('end')
        if begin is not None and end is not None and 0 < end <= begin:
            scheduler['begin'] = end - 1  # a phase of less than an epoch, which would have no length


def _schedulers(node: Any) -> list[dict[str, Any]]:
    """Return all schedulers of a ``param_scheduler`` field: a scheduler, a list, or either by model."""
    if isinstance(node, dict) and 'type' in node:
        return [node]
    children = node.values() if isinstance(node, dict) else node or []
    return [scheduler for child in children for scheduler in _schedulers(child)]


def _scale(value: Any, factor: float) -> Any:
    if isinstance(value, (list, tuple)):
        return [_scale(item, factor) for item in value]
    return max(round(value * factor), min(value, 1))
