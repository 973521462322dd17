"""Logs and curves of a run that goes on: every step once."""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from mmengine.visualization import TensorboardVisBackend, Visualizer
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from motivation.files import write_whole


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
    """Have everything logged so far written to the disk."""
    for writer in _writers(visualizer):
        writer.flush()


def _writers(visualizer: Visualizer) -> Iterator[Any]:
    for backend in visualizer._vis_backends.values():
        if isinstance(backend, TensorboardVisBackend):
            yield backend.experiment


def _step(line: bytes) -> float:
    try:
        return json.loads(line)['step']
    except (ValueError, KeyError, TypeError):
        return float('inf')
