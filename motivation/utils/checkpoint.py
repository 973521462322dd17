"""Checkpoints of plain data, written atomically."""

import re
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from motivation.errors import ConfigError
from motivation.utils.files import write_whole

_NAME = re.compile(r'epoch_(\d+)(?:_iter_(\d+))?\.pth')


def checkpoint_name(epoch: int, iteration: int | None = None) -> str:
    """Return the file name of a checkpoint.

    Args:
        epoch: Number of finished epochs, with their validation.
        iteration: Number of finished batches of a checkpoint within an epoch; ``None`` (default) after an epoch.
    """
    return f'epoch_{epoch}.pth' if iteration is None else f'epoch_{epoch}_iter_{iteration}.pth'


def find_checkpoints(work_dir: Path) -> list[Path]:
    """Return the checkpoints in a work_dir, oldest first."""
    matches = {path: _NAME.fullmatch(path.name) for path in work_dir.glob('epoch_*.pth')}
    places = {path: (int(match[1]), int(match[2] or 0)) for path, match in matches.items() if match}
    return sorted(places, key=places.__getitem__)


def name_checkpoints(path: Path) -> str:
    """Return the advice to give another checkpoint than one that is not there, with the names of those that are.

    Args:
        path: What was given: a file, or a folder.
    """
    folder = path if path.is_dir() else path.parent
    names = [repr(str(found)) for found in find_checkpoints(folder)]
    if not names:
        return f"give the path of an epoch_<n>.pth, of which '{folder}' has none"
    return f'there is {" and ".join(names[-5:])}' + (f', after {len(names) - 5} older' if len(names) > 5 else '')


def newest_whole(checkpoints: Sequence[Path]) -> tuple[Path | None, list[Path]]:
    """Find the last checkpoint that is not damaged.

    Args:
        checkpoints: Checkpoints, oldest first.

    Returns:
        Its path, or ``None``, and the damaged checkpoints after it.
    """
    damaged: list[Path] = []
    for path in reversed(checkpoints):
        if is_whole(path):
            return path, damaged
        damaged.append(path)
    return None, damaged


def is_whole(path: Path) -> bool:
    """Whether every part of a file saved by torch has the checksum (CRC-32) that the file records for it.

    The content stays in memory, so that :func:`read_checkpoint` does not read the file again.
    """
    return _WHOLE.read(path) is not None


class _WholeFile:
    """A cache of the last undamaged file, so that a large checkpoint is read once to check and load it."""

    def __init__(self) -> None:
        self._stamp: tuple[int, ...] = ()
        self._content = b''

    def read(self, path: Path) -> bytes | None:
        """Return the content of a file, or ``None`` if it is damaged."""
        try:
            stat = path.stat()
            stamp = stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
            if stamp != self._stamp:
                self.forget()
                content = path.read_bytes()
                with zipfile.ZipFile(BytesIO(content)) as archive:
                    if archive.testzip() is not None:
                        return None
                self._stamp, self._content = stamp, content
        except Exception:  # damaged archives raise errors of many types
            return None
        return self._content

    def forget(self) -> None:
        """Clear the cache."""
        self._stamp, self._content = (), b''


_WHOLE = _WholeFile()


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Save a checkpoint as plain data, atomically.

    Raises:
        OSError: The file cannot be written.
        ConfigError: The checkpoint has values that are not plain data and could not be loaded.
    """
    plain = to_plain(checkpoint)
    check_plain(plain, 'checkpoint')
    write_whole(path, partial(_save, plain))


def _save(checkpoint: Any, file: BinaryIO) -> None:
    try:
        torch.save(checkpoint, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):  # torch raises a second error while it closes the file
            raise error.__context__ from None
        raise


def read_checkpoint(
    path: Path, map_location: Any = 'cpu', keep: bool = False, way_out: str = 'give another epoch_<n>.pth'
) -> dict[str, Any]:
    """Load a checkpoint as plain data, without running code from the file.

    Args:
        path: Path of the checkpoint.
        map_location: Device of the tensors, see :func:`torch.load`. Default: CPU.
        keep: Whether to keep the file's content in memory for the next load. Default: ``False``.
        way_out: What the error message advises. Default: another ``epoch_<n>.pth``.

    Raises:
        ConfigError: The file does not exist, is damaged, or is not a checkpoint of plain data.
    """
    require_file(path)
    content = _WHOLE.read(path)
    if content is None:
        raise ConfigError(f'checkpoint {str(path)!r} is damaged or not a checkpoint; {way_out}')
    try:
        checkpoint = torch.load(BytesIO(content), map_location=map_location, weights_only=True)
    except Exception as error:  # torch raises errors of many types
        raise ConfigError(f'checkpoint {str(path)!r} has more than plain data and was not loaded; {way_out}') from error
    finally:
        if not keep:
            _WHOLE.forget()
    if not isinstance(checkpoint, dict) or 'state_dict' not in checkpoint:
        raise ConfigError(f'{str(path)!r} is not a checkpoint of this framework; {way_out}')
    return checkpoint


def require_file(path: Path) -> None:
    """Check that a checkpoint exists.

    Raises:
        ConfigError: The path does not exist or is a folder.
    """
    if not path.is_file():
        what = 'is a folder' if path.is_dir() else 'does not exist'
        raise ConfigError(f'checkpoint {str(path)!r} {what}; {name_checkpoints(path)}')


def check_fits(
    state_dict: dict[str, torch.Tensor],
    model: nn.Module,
    path: Path,
    way_out: str = 'give the config that the checkpoint was trained with',
) -> None:
    """Check that a state dict has the names and shapes of a model's.

    Args:
        state_dict: The state dict.
        model: The model.
        path: Path of its checkpoint, for the error message.
        way_out: What the message advises. Default: the config of the checkpoint.

    Raises:
        ConfigError: A name or shape differs; the message names the first.
    """
    misfit = find_misfit(state_dict, model.state_dict())
    if misfit:
        raise ConfigError(f"checkpoint '{path}' is of other models: {misfit}; {way_out}")


def find_misfit(state_dict: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> str:
    """Return the first difference of a state dict in names or shapes, as a clause; ``''`` if there is none.

    Args:
        state_dict: The state dict of a checkpoint.
        expected: That of the model.
    """
    for name in [*expected, *state_dict]:
        if name not in state_dict:
            return f'it lacks {name!r}'
        if name not in expected:
            return f'{name!r} is not in the model'
        if state_dict[name].shape != expected[name].shape:
            shapes = tuple(state_dict[name].shape), tuple(expected[name].shape)
            return f'{name!r} is {shapes[0]} in the checkpoint and {shapes[1]} in the model'
    return ''


_HISTORY = 'history_buffer'


def to_plain(value: Any) -> Any:
    """Copy nested data and convert it to what loads as plain data.

    Tensors are moved to the CPU; numpy arrays become tensors, numpy scalars Python numbers, and MMEngine's history
    buffers dicts that :func:`from_plain` converts back.
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


# Types that torch loads with weights_only=True.
_PLAIN = (bool, int, float, str, torch.Tensor, np.ndarray, np.generic, torch.dtype, torch.device)


def check_plain(value: Any, name: str) -> None:
    """Check that nested data can be loaded as plain data.

    Args:
        value: The data to save.
        name: Name of the data for the error message.

    Raises:
        ConfigError: A value is not plain data; the message names it and its type.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            check_plain(item, f'{name}[{key!r}]')
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            check_plain(item, f'{name}[{index}]')
    elif value is not None and not isinstance(value, _PLAIN):
        raise ConfigError(
            f'{name} is a {type(value).__name__}, which a checkpoint cannot hold; return plain data: numbers, strings, '
            'lists, dicts or tensors'
        )


def from_plain(value: Any) -> Any:
    """Convert the history buffers of :func:`to_plain` back to MMEngine's; other values do not change."""
    if isinstance(value, dict) and _HISTORY in value:
        log, count = (part.cpu().numpy() for part in value[_HISTORY])
        return HistoryBuffer(log, count, max_length=value['max_length'])
    if isinstance(value, dict):
        return OrderedDict((key, from_plain(item)) for key, item in value.items())
    return value
