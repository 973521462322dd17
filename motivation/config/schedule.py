"""The same schedule over another number of epochs."""

from typing import Any

from mmengine.config import Config

from motivation.errors import ConfigError

# Fields of MMEngine's schedulers that count epochs, or lists of them.
_EPOCH_FIELDS = ('begin', 'end', 'T_max', 'step_size', 'milestones', 'periods', 'restarts', 'total_steps')


def scale_epochs(config: Config, epochs: int, field: str = 'epochs') -> None:
    """Make a run of ``epochs`` epochs of a config, its learning rate following the same curve.

    ``train_cfg.max_epochs`` is set, and every field of ``param_scheduler`` that counts epochs is
    multiplied by the same factor, rounded, and kept at 1 or more where it was.

    Args:
        config: Changed in place.
        epochs: At least 1.
        field: What the user calls them, for the message.

    Raises:
        ConfigError: ``epochs`` is not a whole number of at least 1.
    """
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
        raise ConfigError(f'{field} is {epochs!r}; it must be a whole number of at least 1')
    factor = epochs / config.train_cfg.max_epochs
    config.train_cfg.max_epochs = epochs
    for scheduler in _schedulers(config.get('param_scheduler')):
        if not scheduler.get('by_epoch', True):
            continue
        for field in _EPOCH_FIELDS:
            if scheduler.get(field) is not None:
                scheduler[field] = _scale(scheduler[field], factor)


def _schedulers(node: Any) -> list[dict[str, Any]]:
    """The schedulers of a field that is one, a list, or either for each model."""
    if isinstance(node, dict) and 'type' in node:
        return [node]
    children = node.values() if isinstance(node, dict) else node or []
    return [scheduler for child in children for scheduler in _schedulers(child)]


def _scale(value: Any, factor: float) -> Any:
    if isinstance(value, (list, tuple)):
        return [_scale(item, factor) for item in value]
    return max(round(value * factor), min(value, 1))
