"""What a Ray worker does for a run: start its process, follow it, and end it when asked.

Ray sends this module and :mod:`motivation.executors.ray_files` to its workers by value, so that a worker imports
nothing of this framework, which would take seconds and hundreds of megabytes, and can say so where it is missing.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motivation.executors.ray_files import Mirror, sees

# Seconds between two looks at the process of a run, and at the checkpoints that it has written.
_POLL, _LOOK = 0.2, 1.0


@dataclass(frozen=True)
class Assignment:
    """A run for a node; relative paths refer to ``directory``.

    Attributes:
        name: Name of the run.
        config: Path of its config.
        folder: Its work_dir.
        reads: Folders of the runs from which its config takes files.
        script: The script to execute; a relative path refers to the folder of this package.
        directory: Folder in which the run is started.
        environment: Environment variables of the run, in addition to those of the worker.
        token: Content of the token file by which a node recognises the work_dir.
        origin: Where the originals of copied files are.
    """

    name: str
    config: str
    folder: str
    reads: tuple[str, ...]
    script: str
    directory: str
    environment: dict[str, str]
    token: str
    origin: str


def find_problem(directory: str, environment: Mapping[str, str], version: str) -> str:
    """Return why this node cannot execute runs, as the end of a sentence that begins with the node; ``''`` if it can.

    Args:
        directory: Folder in which runs are started.
        environment: Environment variables of the runs, in addition to those of the worker.
        version: Version of this package that runs need.
    """
    if not Path(directory).is_dir():
        return f"has no folder '{directory}', in which runs would start; create it, or give directory=<folder>"
    done = subprocess.run(
        [sys.executable, '-c', 'import motivation; print(motivation.__version__)'],
        cwd=directory,
        env=_environment(environment),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        last = done.stderr.strip().rpartition('\n')[2]
        return f'cannot import motivation with {sys.executable} ({last}); install it there'
    if done.stdout.strip() != version:
        return f'has motivation {done.stdout.strip()}, and this machine {version}; install the same'
    return ''


def execute(assignment: Assignment, keeper: Any) -> tuple[int, str]:
    """Execute a run on this node.

    Args:
        assignment: The run.
        keeper: Handle of the :class:`~motivation.executors.ray_files.Keeper`; ``None`` if the node
            must see the work_dir.

    Returns:
        The exit status of the run, and why it failed if its output does not say so.
    """
    # Ray cancels by SIGINT, which its workers ignore if Ray was started in the background of a shell.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _execute(assignment, keeper)
    finally:
        signal.signal(signal.SIGINT, handler)


def _execute(assignment: Assignment, keeper: Any) -> tuple[int, str]:
    node, folder = socket.gethostname(), Path(assignment.directory, assignment.folder)
    if not Path(assignment.directory).is_dir():
        return 1, f"node {node!r} has no folder '{assignment.directory}'; create it, or give directory=<folder>"
    if sees(folder, assignment.token):
        return _follow(_start(assignment, folder)), ''
    if keeper is None:
        return 1, f"node {node!r} does not see '{folder}'; give a --work-dir on storage that the nodes share"
    mirror = Mirror(keeper, assignment.directory, assignment.folder, assignment.name, assignment.origin)
    problem = mirror.fetch(assignment.config, assignment.reads)
    if problem:
        return 1, problem
    code = _follow(_start(assignment, folder), mirror.send_checkpoints)
    mirror.finish()
    return code, ''


def _start(assignment: Assignment, folder: Path) -> 'subprocess.Popen[bytes]':
    run = {name: getattr(assignment, name) for name in ('name', 'config', 'folder', 'reads', 'script')}
    with (folder / 'output.txt').open('ab') as output:
        return subprocess.Popen(
            [sys.executable, '-m', 'motivation.executors.ray_process', json.dumps({**run, 'worker': os.getpid()})],
            cwd=assignment.directory,
            env=_environment(assignment.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    paths = filter(None, [given.get('PYTHONPATH'), os.environ.get('PYTHONPATH')])
    return {**os.environ, **given, 'PYTHONPATH': os.pathsep.join(paths)}


def _follow(process: 'subprocess.Popen[bytes]', look: Callable[[], None] | None = None) -> int:
    """Wait for the end of a process, and return its exit status.

    Args:
        process: The process, which is asked to end when Ray cancels the task.
        look: Called about once a second.
    """
    last = time.monotonic()
    try:
        while True:
            try:
                while process.poll() is None:
                    time.sleep(_POLL)
                    if look is not None and time.monotonic() - last > _LOOK:
                        look()
                        last = time.monotonic()
                return process.returncode
            except KeyboardInterrupt:  # ray.cancel
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough, and the files are still to be sent
                process.terminate()
    finally:
        process.kill()  # if the files cannot be sent any more; does nothing after its end
        process.wait()
