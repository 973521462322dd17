"""A process that imports once what every run imports, and forks a process for each run.

It reads requests from its standard input, a JSON object a line: ``{"run": 0, "arguments": [...],
"output": "..."}`` forks a process that runs the script with these arguments as if an interpreter had
just been started with it, and ``{"cancel": 0}`` sends that one SIGTERM. It writes
``{"run": 0, "pid": ...}`` where a run begins, and the same with its exit status, ``"code"``, where it
ends. It ends when its input does; runs that go on go on.

Before a fork nothing may be computed: a process forked after OpenMP has started threads crashes.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_PATIENCE = 0.05  # seconds between two looks for runs that have ended


def main(script: str, *modules: str) -> None:
    """Serve; in a process that was forked, be the run.

    Args:
        script: What a run runs.
        modules: What is imported beforehand.
    """
    asked = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    _preload(modules)
    request = _serve()
    if request is not None:
        for number, handler in asked.items():
            signal.signal(number, handler)
        _redirect(request['output'])
        sys.argv = [script, *request['arguments']]
        sys.path[0] = str(Path(script).parent)
        runpy.run_path(script, run_name='__main__')


def _preload(modules: Sequence[str]) -> None:
    gc.disable()  # what is imported stays
    for module in modules:
        with suppress(Exception):  # the run that needs it will say so
            importlib.import_module(module)
    gc.enable()
    gc.freeze()  # a collection would touch, and so copy, all of it in every run


def _serve() -> dict[str, Any] | None:
    """Fork for each request.

    Returns:
        In a forked process its request; ``None`` in the server, at the end.
    """
    running: dict[int, int] = {}  # the number of the run, by process
    unread = b''
    while True:
        if select.select([0], [], [], _PATIENCE if running else None)[0]:
            read = os.read(0, 65536)
            if not read:
                return None
            *lines, unread = (unread + read).split(b'\n')
            for request in map(json.loads, lines):
                if 'cancel' in request:
                    for pid in (pid for pid, number in running.items() if number == request['cancel']):
                        os.kill(pid, signal.SIGTERM)
                    continue
                pid = os.fork()
                if pid == 0:
                    return request
                running[pid] = request['run']
                _tell({'run': request['run'], 'pid': pid})
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                _tell({'run': running.pop(pid), 'pid': pid, 'code': os.waitstatus_to_exitcode(status)})


def _tell(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b'\n')


def _redirect(output: str) -> None:
    """Read from nowhere, and print to the end of a file."""
    sources = os.open(os.devnull, os.O_RDONLY), os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for descriptor, source in ((0, sources[0]), (1, sources[1]), (2, sources[1])):
        os.dup2(source, descriptor)
    for source in sources:
        os.close(source)
    # As a new interpreter makes them for files.
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, 'w', closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, 'w', buffering=1, errors='backslashreplace', closefd=False)  # type: ignore[misc]  # noqa: SIM115
