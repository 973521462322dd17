"""What makes two configs the same run, so that one can go on where the other stopped."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size

from motivation.errors import ConfigError

# What the training of both models depends on.
_PARTS = (
    'model',
    'motivation',
    'train_dataloader',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
    'auto_scale_lr',
    'randomness',
)

# What says how a run begins: the random numbers, and weights that a checkpoint replaces.
_OF_THE_BEGINNING = re.compile(
    r'randomness\.(seed|diff_rank_seed)|motivation\.policy(\..*)?\.seed|model\.extension'
    r'|model\.(base|motivated)(\..*)?\.(pretrained\w*|checkpoint_path|\w*init(_\w*)?)(\..*)?'
)

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


def describe_hooks(config: Config) -> str:
    """The hooks of a config, as JSON."""
    plain = config._cfg_dict.to_dict()
    return json.dumps([plain.get('default_hooks'), plain.get('custom_hooks')], default=repr)


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


def check_same_run(config: Config, before: str, checkpoint: Path) -> dict[str, str]:
    """Refuse to resume a run under another config, unless it says ``allow_changes``.

    Args:
        config: The config of now.
        before: What :func:`describe_run_config` said of the run that is resumed.
        checkpoint: For the message.

    Returns:
        The fields that differ and are allowed to, each with what it is and was; none where none does.

    Raises:
        ConfigError: A field differs, or one that cannot within a run; the first few are named.
    """
    changes = {
        field: f'{field} is {_in_words(now)}, and was {_in_words(then)}'
        for field, then, now in config_differences(before, describe_run_config(config))
    }
    if changes and not config.get('allow_changes'):
        raise ConfigError(
            f"{_listed(changes)} in '{checkpoint}'; a resumed run goes on as it began: give the same config, begin a new run with "
            'load_from, or go on all the same with --allow-changes'
        )
    fixed = {field: said for field, said in changes.items() if _OF_THE_BEGINNING.fullmatch(field)}
    if fixed:
        raise ConfigError(
            f"{_listed(fixed)} in '{checkpoint}'; this says how a run begins, which --allow-changes cannot change any more: "
            'give the same, or begin a new run with load_from'
        )
    return changes


def _listed(changes: dict[str, str]) -> str:
    more = f', and {len(changes) - _SHOWN} more' if len(changes) > _SHOWN else ''
    return ', '.join(list(changes.values())[:_SHOWN]) + more


def _in_words(value: Any) -> str:
    return _UNNAMED if value is _UNNAMED else repr(value)


def _fields(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    if isinstance(node, (dict, list)) and node:
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _fields(child, f'{path}.{key}' if path else str(key))
    else:
        yield path, node
