"""Logs and curves of a run, which survive a full disk and contain every step once after a resume."""

import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from operator import methodcaller
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mmengine.logging import MMLogger
from mmengine.visualization import LocalVisBackend, TensorboardVisBackend, Visualizer
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from motivation.utils.files import write_whole


@runtime_checkable
class Buffered(Protocol):
    """A backend of a visualizer that writes entries together."""

    def flush(self) -> None:
        """Write what is buffered; a failure is the backend's own to report."""


def warn_on_terminal(logger: MMLogger) -> MMLogger:
    """Keep a logger's messages below warnings off the terminal; returns it."""
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.WARNING)
    return logger


def find_log_folder(work_dir: Path) -> Path | None:
    """Return the newest log folder in a work_dir, or ``None`` if there is none."""
    folders = [path for path in work_dir.glob('*/') if re.fullmatch(r'\d{8}_\d{6}', path.name)]
    return max(folders, default=None)


def forget_later_steps(visualizer: Visualizer, log_dir: Path, iteration: int) -> None:
    """Remove the steps after a batch from the logs, because a resumed run logs them again.

    Args:
        visualizer: Visualizer of the run. A restart event in its TensorBoard file makes TensorBoard hide later steps.
        log_dir: Log folder. Lines of later steps, and incomplete lines, are removed from ``vis_data/*.json`` and the files of its
            local backends.
        iteration: Number of batches that the resumed run has done.
    """
    local = (backend for backend in visualizer._vis_backends.values() if isinstance(backend, LocalVisBackend))
    elsewhere = {  # where a config says so
        path
        for backend in local
        for path in (Path(backend._scalar_save_file), Path(backend._save_dir, f'{log_dir.name}.json'))
    }
    for path in {*log_dir.glob('vis_data/*.json'), *filter(Path.is_file, elsewhere)}:
        kept = b''.join(line + b'\n' for line in path.read_bytes().splitlines() if _step(line) <= iteration)
        write_whole(path, methodcaller('write', kept))
    for writer in _writers(visualizer):
        restarted = SessionLog(status=SessionLog.START)
        writer._get_file_writer().add_event(Event(step=iteration + 1, session_log=restarted))


def flush_logs(visualizer: Visualizer) -> None:
    """Write everything logged so far to the disk, if possible."""
    for writer in _writers(visualizer):
        with suppress(OSError):  # the next entry reports it
            writer.flush()
    for backend in visualizer._vis_backends.values():
        if isinstance(backend, Buffered):
            backend.flush()


def guard_logs(visualizer: Visualizer, logger: logging.Logger, lost: Callable[[OSError], None]) -> None:
    """Let a run continue when its logs and curves cannot be written; they then lack steps.

    Args:
        visualizer: Visualizer whose backends write the curves.
        logger: Logger whose file handlers write the log.
        lost: Called with the error each time that an entry is lost.
    """
    for backend in visualizer._vis_backends.values():
        for name in ('add_scalar', 'add_scalars', 'close'):
            setattr(backend, name, _guarded(backend, getattr(backend, name), lost))
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = lambda record: _report_current(lost)  # type: ignore[method-assign]
    unguarded = threading.excepthook

    def excepthook(args: threading.ExceptHookArgs) -> None:
        # The error ends TensorBoard's writer thread, and the next write raises it again.
        if not (isinstance(args.exc_value, OSError) and type(args.thread).__name__ == '_AsyncWriterThread'):
            unguarded(args)

    threading.excepthook = excepthook


def _guarded(backend: Any, write: Callable[..., None], lost: Callable[[OSError], None]) -> Callable[..., None]:
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            write(*args, **kwargs)
        except OSError as error:
            backend._env_initialized = False  # makes the backend reopen its file for the next entry
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
