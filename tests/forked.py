"""Scripts in copies of a process that has imported everything already."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from motivation.comparison.executors import PRELOADED

_SERVER = multiprocessing.get_context('forkserver')  # this process cannot be copied once it has trained
_SERVER.set_forkserver_preload([*PRELOADED])


def run_forked(*command, environments=({},)):
    """Run a Python script as often as there are environments, at the same time.

    It is as in a process of its own, only that nothing is imported anew, which takes seconds. A GPU does not
    survive that, so that where there is one the processes begin anew.

    Args:
        *command: The script and its arguments.
        environments: Environment variables beside those of this process.

    Returns:
        For each a :class:`subprocess.CompletedProcess`.
    """
    command = [*map(str, command)]
    with tempfile.TemporaryDirectory() as folder:
        outputs = [(Path(folder, f'{index}.out'), Path(folder, f'{index}.err')) for index in range(len(environments))]
        if torch.cuda.is_available():
            statuses = _begin_anew(command, environments, outputs)
        else:
            processes = [
                _SERVER.Process(target=_run, args=(command, {**os.environ, **environment}, *paths))
                for environment, paths in zip(environments, outputs, strict=True)
            ]
            for process in processes:
                process.start()
            for process in processes:
                process.join()
            statuses = [process.exitcode for process in processes]
        return [
            subprocess.CompletedProcess(command, status, *(path.read_text() for path in paths))
            for status, paths in zip(statuses, outputs, strict=True)
        ]


def _begin_anew(command, environments, outputs):
    processes = [
        subprocess.Popen(
            [sys.executable, *command], stdout=out.open('w'), stderr=err.open('w'), env={**os.environ, **own}
        )
        for own, (out, err) in zip(environments, outputs, strict=True)
    ]
    return [process.wait() for process in processes]


def _run(command, environment, out, err):
    multiprocessing.set_start_method(None, force=True)  # that of a process begun anew
    os.environ.update(environment)
    sys.path.insert(0, str(Path(command[0]).resolve().parent))
    sys.argv, sys.stdout, sys.stderr = command, out.open('w'), err.open('w')
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        os.dup2(stream.fileno(), number)
    runpy.run_path(command[0], run_name='__main__')
