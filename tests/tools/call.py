"""Calls of the command-line tools, as a user makes them."""

import io
import os
import runpy
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

from tests.conftest import ROOT
from tests.forked import run_forked


def call(tool, *arguments, env=None):
    """Call a tool in its own process, which takes seconds to start."""
    command = [sys.executable, str(ROOT / 'tools' / tool), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})})


def call_forked(tool, *arguments):
    """In a copy of a process that has imported everything already."""
    return run_forked(ROOT / 'tools' / tool, *arguments)[0]


def call_here(tool, *arguments):
    """Call a tool in this process, from the first line of the script to its exit status."""
    command, status = [str(ROOT / 'tools' / tool), *map(str, arguments)], 0
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    with patch('sys.argv', command), redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        try:
            runpy.run_path(command[0], run_name='__main__')
        except SystemExit as error:
            status = error.code or 0
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return subprocess.CompletedProcess(command, status, out.getvalue(), err.getvalue())
