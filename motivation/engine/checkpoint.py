"""Checkpoints of plain data, written whole or not at all."""

import os
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from motivation.errors import ConfigError


def find_checkpoints(work_dir: Path) -> list[Path]:
    """The ``epoch_<n>.pth`` of a work_dir, oldest first."""
    epochs = {path: re.fullmatch(r'epoch_(\d+)\.pth', path.name) for path in work_dir.glob('epoch_*.pth')}
    return sorted((path for path, match in epochs.items() if match), key=lambda path: int(path.stem[6:]))


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Save a checkpoint: to a temporary file, flushed to the disk, then renamed over ``path``.

    Whenever the machine stops, ``path`` is the old file or the new one, never half of one.
    """
    temporary = path.with_name(f'.{path.name}.part')
    with temporary.open('wb') as file:
        torch.save(to_plain(checkpoint), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_checkpoint(path: Path, map_location: Any = 'cpu') -> dict[str, Any]:
    """Load a checkpoint as plain data; nothing in the file is run.

    Raises:
        ConfigError: There is no such file, or it is not a checkpoint of plain data.
    """
    if not path.is_file():
        raise ConfigError(f'checkpoint {str(path)!r} does not exist; give the path of an epoch_<n>.pth')
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # torch raises half a dozen types for a file that is not what it seems
        raise ConfigError(
            f'checkpoint {str(path)!r} is damaged or holds more than plain data; give another epoch_<n>.pth'
        ) from error
    if not isinstance(checkpoint, dict) or 'state_dict' not in checkpoint:
        raise ConfigError(f'{str(path)!r} is not a checkpoint of this framework; give an epoch_<n>.pth')
    return checkpoint


def check_fits(state_dict: dict[str, torch.Tensor], model: nn.Module, path: Path) -> None:
    """Refuse a checkpoint of other models.

    Raises:
        ConfigError: Names or shapes differ; the first that does is named.
    """
    expected = model.state_dict()
    advice = 'give the config that the checkpoint was trained with'
    for name in [*expected, *state_dict]:
        if name not in state_dict:
            raise ConfigError(f"checkpoint '{path}' is of other models: it lacks {name!r}; {advice}")
        if name not in expected:
            raise ConfigError(f"checkpoint '{path}' is of other models: {name!r} is not in the config's; {advice}")
        if state_dict[name].shape != expected[name].shape:
            raise ConfigError(
                f"checkpoint '{path}' is of other models: {name!r} is {tuple(state_dict[name].shape)} in the checkpoint "
                f'and {tuple(expected[name].shape)} in the model; {advice}'
            )


_HISTORY = 'history_buffer'


def to_plain(value: Any) -> Any:
    """Copy nested data, turning what MMEngine puts in a checkpoint into what loads as plain data.

    Tensors go to the CPU, numpy arrays become tensors, numpy scalars Python numbers, and MMEngine's
    histories a dict that :func:`from_plain` turns back.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, HistoryBuffer):
        log, count = (torch.from_numpy(np.asarray(part, dtype=np.float64)) for part in value.data)
        return {_HISTORY: [log, count], 'max_length': value.max_length}
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [to_plain(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def check_plain(value: Any, name: str) -> None:
    """Refuse nested data that would not load again as plain data.

    Args:
        value: What is to be saved.
        name: What to call it in the message.

    Raises:
        ConfigError: Names the part that is not plain, and its type.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            check_plain(item, f'{name}[{key!r}]')
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            check_plain(item, f'{name}[{index}]')
    elif value is not None and not isinstance(value, (bool, int, float, str, torch.Tensor, np.ndarray, np.generic)):
        raise ConfigError(
            f'{name} is a {type(value).__name__}, which a checkpoint cannot hold; return plain data: numbers, strings, '
            'lists, dicts or tensors'
        )


def from_plain(value: Any) -> Any:
    """Turn the histories of :func:`to_plain` back into MMEngine's; leave all else as it is."""
    if isinstance(value, dict) and _HISTORY in value:
        log, count = (part.cpu().numpy() for part in value[_HISTORY])
        return HistoryBuffer(log, count, max_length=value['max_length'])
    if isinstance(value, dict):
        return OrderedDict((key, from_plain(item)) for key, item in value.items())
    return value
