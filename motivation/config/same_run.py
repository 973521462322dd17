"""Comparing the config of a run with that of the checkpoint it resumes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size

from motivation.config.nodes import nodes
from motivation.config.schema import DEFAULT_TYPES
from motivation.errors import ConfigError

# Fields that determine the training of both models.
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

# Fields that determine how a run starts: seeds, and initial weights that the checkpoint replaces.
_INITIAL = re.compile(
    r'randomness\.(seed|diff_rank_seed)|motivation\.policy(\..*)?\.seed|model\.(extension|start)'
    r'|model\.(base|motivated)(\..*)?\.(pretrained\w*|checkpoint_path|weights|new_head|\w*init(_\w*)?)(\..*)?'
)

# Further fields that determine the results.
_EVALUATION = ('val_dataloader', 'val_cfg', 'val_evaluator', 'load_from', 'custom_hooks')

# The value of a field that a config does not have.
_UNNAMED = 'left out'

# Number of differences named in a message.
_SHOWN = 3

# Fields that may always differ: location and loading of the data, validation interval, handling of bad losses.
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
    """Return the part of a config that a resumed run must share, as JSON.

    Args:
        config: The config.
        evaluation: Whether to include validation, ``load_from`` and custom hooks.
    """
    plain = config._cfg_dict.to_dict()
    parts = _PARTS + _EVALUATION if evaluation else _PARTS
    described = {'processes': get_world_size(), **{part: plain.get(part) for part in parts}}
    return json.dumps(described, default=repr)


def describe_hooks(config: Config) -> str:
    """Return the hooks of a config, as JSON."""
    plain = config._cfg_dict.to_dict()
    # The MotivationHook is the field `motivation`, which describe_run_config has.
    default = {name: node for name, node in (plain.get('default_hooks') or {}).items() if name != 'motivation'}
    return json.dumps([default, plain.get('custom_hooks')], default=repr)


def config_differences(before: str, now: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield each relevant field that differs between two runs, with its value in both.

    Args:
        before: Result of :func:`describe_run_config` for the first run.
        now: Result of :func:`describe_run_config` for the second run.
    """
    old, new = _fields(before), _fields(now)
    for field in dict.fromkeys([*old, *new]):
        # To name the default type is to leave it out.
        default = DEFAULT_TYPES.get(field.removesuffix('.type'))
        one, other = (None if fields.get(field) == default else fields.get(field) for fields in (old, new))
        if one != other and field.rpartition('.')[2] not in _FREE:
            yield field, old.get(field, _UNNAMED), new.get(field, _UNNAMED)


def check_same_run(config: Config, before: str, checkpoint: Path) -> dict[str, str]:
    """Check that a config resumes the run it belongs to, unless it has ``allow_changes``.

    Args:
        config: The current config.
        before: Result of :func:`describe_run_config` for the resumed run.
        checkpoint: Path of the checkpoint, for messages.

    Returns:
        Text with the new and old value of each field that differs, by field; empty if none does.

    Raises:
        ConfigError: A field differs without ``allow_changes``, or one that cannot change on resume.
    """
    changes = {
        field: f'{field} is {_text(new)}, and was {_text(old)}'
        for field, old, new in config_differences(before, describe_run_config(config))
    }
    if changes and not config.get('allow_changes'):
        raise ConfigError(
            f"{_listed(changes)} in '{checkpoint}'; a resumed run needs the same config: restore it, start a new run with "
            'load_from, or resume with --allow-changes'
        )
    fixed = {field: change for field, change in changes.items() if _INITIAL.fullmatch(field)}
    if fixed:
        raise ConfigError(
            f"{_listed(fixed)} in '{checkpoint}'; this determines how a run begins, which --allow-changes cannot change on "
            'resume: restore it, or start a new run with load_from'
        )
    return changes


def _listed(changes: dict[str, str]) -> str:
    more = f', and {len(changes) - _SHOWN} more' if len(changes) > _SHOWN else ''
    return ', '.join(list(changes.values())[:_SHOWN]) + more


def _text(value: Any) -> str:
    return _UNNAMED if value is _UNNAMED else repr(value)


def _fields(text: str) -> dict[str, Any]:
    """Return the values of a config given as JSON, by dotted path."""
    return {path: value for path, value in nodes(json.loads(text)) if not value or not isinstance(value, (dict, list))}
