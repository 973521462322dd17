"""Checkpoints of plain data, written whole or not at all."""

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
    """The file name of a checkpoint.

    Args:
        epoch: Epochs that are over, with their validation.
        iteration: Batches that are over, if it lies within an epoch; else ``None``.
    """
    return f'epoch_{epoch}.pth' if iteration is None else f'epoch_{epoch}_iter_{iteration}.pth'


def find_checkpoints(work_dir: Path) -> list[Path]:
    """The checkpoints of a work_dir, oldest first."""
    places = {path: _NAME.fullmatch(path.name) for path in work_dir.glob('epoch_*.pth')}
    found = {path: (int(match[1]), int(match[2] or 0)) for path, match in places.items() if match}
    return sorted(found, key=found.__getitem__)


def newest_whole(checkpoints: Sequence[Path]) -> tuple[Path | None, list[Path]]:
    """The last checkpoint that is whole.

    Args:
        checkpoints: Oldest first.

    Returns:
        It, or ``None`` if there is none; and those after it, which are damaged.
    """
    damaged: list[Path] = []
    for path in reversed(checkpoints):
        if is_whole(path):
            return path, damaged
        damaged.append(path)
    return None, damaged


def is_whole(path: Path) -> bool:
    """Return whether every part of a file that torch has saved has the checksum (CRC-32) that the file says.

    The file is read here; :func:`read_checkpoint` then loads it without reading it again.
    """
    return _WHOLE.read(path) is not None


class _WholeFile:
    """Keeps the bytes of the last file found whole, until it is loaded: to read a large one takes long."""

    def __init__(self) -> None:
        self._stamp: tuple[int, ...] = ()
        self._content = b''

    def read(self, path: Path) -> bytes | None:
        """Return the bytes of a file, ``None`` if it is damaged."""
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
        except Exception:  # a damaged archive raises half a dozen types
            return None
        return self._content

    def forget(self) -> None:
        """Free the memory."""
        self._stamp, self._content = (), b''


_WHOLE = _WholeFile()


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Save a checkpoint as plain data, whole or not at all.

    Raises:
        OSError: It cannot be written.
        ConfigError: A part is no plain data, so that the file could not be loaded.
    """
    plain = to_plain(checkpoint)
    check_plain(plain, 'checkpoint')
    write_whole(path, partial(_save, plain))


def _save(checkpoint: Any, file: BinaryIO) -> None:
    try:
        torch.save(checkpoint, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):  # torch stumbles once more, over what it could not write
            raise error.__context__ from None
        raise


def read_checkpoint(path: Path, map_location: Any = 'cpu', keep: bool = False) -> dict[str, Any]:
    """Load a checkpoint as plain data; nothing in the file is run.

    Args:
        path: The file.
        map_location: As of :func:`torch.load`.
        keep: Whether the file's bytes stay in memory because it is about to be loaded again.

    Raises:
        ConfigError: There is no such file, it is damaged, or it is not a checkpoint of plain data.
    """
    require_file(path)
    content = _WHOLE.read(path)
    if content is None:
        raise ConfigError(f'checkpoint {str(path)!r} is damaged or no checkpoint at all; give another epoch_<n>.pth')
    try:
        checkpoint = torch.load(BytesIO(content), map_location=map_location, weights_only=True)
    except Exception as error:  # torch raises half a dozen types for a file that is not what it seems
        raise ConfigError(
            f'checkpoint {str(path)!r} holds more than plain data, none of which was run; give another epoch_<n>.pth'
        ) from error
    finally:
        if not keep:
            _WHOLE.forget()
    if not isinstance(checkpoint, dict) or 'state_dict' not in checkpoint:
        raise ConfigError(f'{str(path)!r} is not a checkpoint of this framework; give an epoch_<n>.pth')
    return checkpoint


def require_file(path: Path) -> None:
    """Refuse a checkpoint that is not there.

    Raises:
        ConfigError: There is no such file, or it is a folder.
    """
    if not path.is_file():
        what = 'is a folder' if path.is_dir() else 'does not exist'
        raise ConfigError(f'checkpoint {str(path)!r} {what}; give the path of an epoch_<n>.pth')


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


# What torch loads without running anything.
_PLAIN = (bool, int, float, str, torch.Tensor, np.ndarray, np.generic, torch.dtype, torch.device)


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
    elif value is not None and not isinstance(value, _PLAIN):
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
