"""Logs and curves of a run that goes on: every step once."""

import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from mmengine.visualization import TensorboardVisBackend, Visualizer
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from motivation.utils.files import write_whole


def find_log_folder(work_dir: Path) -> Path | None:
    """The newest folder of logs in a work_dir, ``None`` if there is none."""
    folders = [path for path in work_dir.glob('*/') if re.fullmatch(r'\d{8}_\d{6}', path.name)]
    return max(folders, default=None)


def forget_later_steps(visualizer: Visualizer, log_dir: Path, iteration: int) -> None:
    """Take what a run logged after a batch out of its logs, because it goes on from there.

    Args:
        visualizer: Its curves in TensorBoard are marked so that TensorBoard leaves the later steps out.
        log_dir: From its ``vis_data/*.json`` the lines of later steps are taken, and what is half written.
        iteration: Batches that were over.
    """
    for path in log_dir.glob('vis_data/*.json'):
        kept = [line for line in path.read_bytes().splitlines() if _step(line) <= iteration]
        whole = b''.join(line + b'\n' for line in kept)
        write_whole(path, partial(_write, whole))
    for writer in _writers(visualizer):
        restarted = SessionLog(status=SessionLog.START)
        writer._get_file_writer().add_event(Event(step=iteration + 1, session_log=restarted))


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def flush_logs(visualizer: Visualizer) -> None:
    """Have everything logged so far written to the disk, if it can be."""
    for writer in _writers(visualizer):
        with suppress(OSError):  # which the next entry tells of
            writer.flush()


def guard_logs(visualizer: Visualizer, logger: logging.Logger, lost: Callable[[OSError], None]) -> None:
    """Let a run go on though its logs and curves cannot be written; they lack steps then.

    Args:
        visualizer: Its backends write the curves.
        logger: Its file handlers write the log.
        lost: Called with the reason each time that something is not written.
    """
    for backend in visualizer._vis_backends.values():
        for name in ('add_scalar', 'add_scalars', 'close'):
            setattr(backend, name, _guarded(backend, getattr(backend, name), lost))
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = lambda record: _report_current(lost)  # type: ignore[method-assign]
    unguarded = threading.excepthook

    def excepthook(args: threading.ExceptHookArgs) -> None:
        # TensorBoard's thread dies of it, and whoever writes next is told.
        if not (isinstance(args.exc_value, OSError) and type(args.thread).__name__ == '_AsyncWriterThread'):
            unguarded(args)

    threading.excepthook = excepthook


def _guarded(backend: Any, write: Callable[..., None], lost: Callable[[OSError], None]) -> Callable[..., None]:
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            write(*args, **kwargs)
        except OSError as error:
            backend._env_initialized = False  # opens its file anew next time
            lost(error)

    return guarded


def _report_current(lost: Callable[[OSError], None]) -> None:
    error = sys.exc_info()[1]
    if isinstance(error, OSError):
        lost(error)


def _writers(visualizer: Visualizer) -> Iterator[Any]:
    for backend in visualizer._vis_backends.values():
        if isinstance(backend, TensorboardVisBackend):
            yield backend.experiment


def _step(line: bytes) -> float:
    try:
        return json.loads(line)['step']
    except (ValueError, KeyError, TypeError):
        return float('inf')
