"""A server that imports the modules of every run once and forks a process for each run.

It reads requests from stdin, one JSON object per line: ``{"run": 0, "arguments": [...], "output": "..."}`` forks a
process that runs the script with these arguments as a new interpreter would, and ``{"cancel": 0}`` sends SIGTERM to
that process. It writes ``{"run": 0, "pid": ...}`` to stdout when a run starts, and the same with ``"code"``, its exit
status, when the run ends. The server ends at the end of its input, without stopping its runs.

The server must not compute anything: a process that is forked after OpenMP has started threads crashes.
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

_POLL_SECONDS = 0.05  # interval at which the server looks for runs that have ended


def main(script: str, *modules: str) -> None:
    """Serve requests; in a forked process, execute the run.

    Args:
        script: Path of the script that a run executes.
        *modules: Names of the modules to import beforehand.
    """
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    _preload(modules)
    request = _serve()
    if request is not None:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        _redirect(request['output'])
        sys.argv = [script, *request['arguments']]
        sys.path[0] = str(Path(script).parent)
        runpy.run_path(script, run_name='__main__')


def _preload(modules: Sequence[str]) -> None:
    gc.disable()  # collection would cost time and find nothing
    for module in modules:
        with suppress(Exception):  # the run that needs the module will report the error
            importlib.import_module(module)
    gc.enable()
    gc.freeze()  # a collection in a run would write to, and therefore copy, every shared page


def _serve() -> dict[str, Any] | None:
    """Fork a process for each request until stdin ends.

    Returns:
        The request in a forked process; ``None`` in the server.
    """
    running: dict[int, int] = {}  # number of the run by process ID
    unread = b''
    while True:
        if select.select([0], [], [], _POLL_SECONDS if running else None)[0]:
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
                _send({'run': request['run'], 'pid': pid})
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                _send({'run': running.pop(pid), 'pid': pid, 'code': os.waitstatus_to_exitcode(status)})


def _send(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b'\n')


def _redirect(output: str) -> None:
    """Redirect stdin from the null device, and append stdout and stderr to a file."""
    sources = os.open(os.devnull, os.O_RDONLY), os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for descriptor, source in ((0, sources[0]), (1, sources[1]), (2, sources[1])):
        os.dup2(source, descriptor)
    for source in sources:
        os.close(source)
    # With the buffering that a new interpreter uses for files.
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, 'w', closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, 'w', buffering=1, errors='backslashreplace', closefd=False)  # type: ignore[misc]  # noqa: SIM115
