"""What makes two configs the same run, so that one can go on where the other stopped."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size

from motivation.errors import ConfigError

# What the training of both models depends on.
_PARTS = ('model', 'motivation', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'randomness')

# What its results depend on besides.
_EVALUATION = ('val_dataloader', 'val_cfg', 'val_evaluator', 'load_from', 'custom_hooks')

# In the place of the value of a field that a config does not have.
_UNNAMED = 'left out'

# Differences that a message names.
_SHOWN = 3

# Fields among them that change nothing of it: where the data lies, how fast it comes, when to validate, what to do in need.
_FREE = {
    'root',
    'num_workers',
    'persistent_workers',
    'pin_memory',
    'prefetch_factor',
    'cache_mib',
    'val_interval',
    'on_bad_loss',
}


def describe_run_config(config: Config, evaluation: bool = False) -> str:
    """The part of a config that a resumed run must share, as JSON.

    Args:
        config: The config.
        evaluation: With what its results depend on besides: validation, and the weights it begins with.
    """
    plain = config._cfg_dict.to_dict()
    parts = _PARTS + _EVALUATION if evaluation else _PARTS
    described = {'processes': get_world_size(), **{part: plain.get(part) for part in parts}}
    return json.dumps(described, default=repr)


def config_differences(before: str, now: str) -> Iterator[tuple[str, Any, Any]]:
    """Where two runs part: each field that matters, its value before and its value now.

    Args:
        before: What :func:`describe_run_config` said of one run.
        now: The same of the other.
    """
    then, later = (dict(_fields(json.loads(text))) for text in (before, now))
    for field in dict.fromkeys([*then, *later]):
        if then.get(field) != later.get(field) and field.rpartition('.')[2] not in _FREE:
            yield field, then.get(field, _UNNAMED), later.get(field, _UNNAMED)


def check_same_run(config: Config, before: str, checkpoint: Path) -> str:
    """Refuse to resume a run under another config, unless it says ``allow_changes``.

    Args:
        config: The config of now.
        before: What :func:`describe_run_config` said of the run that is resumed.
        checkpoint: For the message.

    Returns:
        What differs and is allowed to; ``''`` for nothing.

    Raises:
        ConfigError: A field differs; the first few are named.
    """
    differences = list(config_differences(before, describe_run_config(config)))
    said = ', '.join(
        f'{field} is {_in_words(now)}, and was {_in_words(then)}' for field, then, now in differences[:_SHOWN]
    )
    if len(differences) > _SHOWN:
        said += f', and {len(differences) - _SHOWN} more'
    if said and not config.get('allow_changes'):
        raise ConfigError(
            f"{said} in '{checkpoint}'; a resumed run goes on as it began: give the same config, begin a new run with "
            'load_from, or go on all the same with --allow-changes'
        )
    return said


def _in_words(value: Any) -> str:
    return _UNNAMED if value is _UNNAMED else repr(value)


def _fields(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    if isinstance(node, (dict, list)) and node:
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _fields(child, f'{path}.{key}' if path else str(key))
    else:
        yield path, node
