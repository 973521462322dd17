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

# Fields among them that change nothing of it: where the data lies, how fast it comes, when to validate.
_FREE = {'root', 'num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor', 'cache_mib', 'val_interval'}


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


def first_difference(before: str, now: str) -> tuple[str, Any, Any] | None:
    """Where two runs part: the first field that matters, its value before and its value now.

    Args:
        before: What :func:`describe_run_config` said of one run.
        now: The same of the other.
    """
    then, later = (dict(_fields(json.loads(text))) for text in (before, now))
    for field in [*then, *later]:
        if then.get(field) != later.get(field) and field.rpartition('.')[2] not in _FREE:
            return field, then.get(field, 'absent'), later.get(field, 'absent')
    return None


def check_same_run(config: Config, before: str, checkpoint: Path) -> None:
    """Refuse to resume a run under another config.

    Args:
        config: The config of now.
        before: What :func:`describe_run_config` said of the run that is resumed.
        checkpoint: For the message.

    Raises:
        ConfigError: A field differs; the first is named.
    """
    difference = first_difference(before, describe_run_config(config))
    if difference is not None:
        field, then, now = difference
        raise ConfigError(
            f"{field} is {now!r}, and was {then!r} in '{checkpoint}'; a resumed run goes on as it began: give the same "
            'config, or begin a new run with load_from'
        )


def _fields(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    if isinstance(node, (dict, list)) and node:
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _fields(child, f'{path}.{key}' if path else str(key))
    else:
        yield path, node
