"""Running scripts in forks of a process with all modules imported."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from motivation.executors.processes import PRELOADED, choose_launcher

_SERVER = multiprocessing.get_context('forkserver')  # a process that has trained with torch cannot be forked
_SERVER.set_forkserver_preload([*PRELOADED, 'sklearn.datasets', 'sklearn.model_selection'])  # the digits


def run_forked(*command, environments=({},)):
    """Run a Python script once per environment, at the same time.

    Forks save the seconds that imports take. With a GPU, which does not work after a fork, new processes are started.

    Args:
        *command: The script and its arguments.
        environments: Environment variables to add to those of this process, for each run.

    Returns:
        A list of :class:`subprocess.CompletedProcess`.
    """
    command = [*map(str, command)]
    with tempfile.TemporaryDirectory() as folder:
        outputs = [(Path(folder, f'{index}.out'), Path(folder, f'{index}.err')) for index in range(len(environments))]
        if torch.cuda.is_available():
            statuses = _run_new_processes(command, environments, outputs)
        else:
            processes = [
                _start(command, environment, *paths) for environment, paths in zip(environments, outputs, strict=True)
            ]
            for process in processes:
                process.join()
            statuses = [process.exitcode for process in processes]
        return [
            subprocess.CompletedProcess(command, status, *(path.read_text() for path in paths))
            for status, paths in zip(statuses, outputs, strict=True)
        ]


def forked_launcher(script, environment):
    """Return a launcher of the runs of a comparison whose processes are forks as in :func:`run_forked`."""
    return choose_launcher(script, environment) if torch.cuda.is_available() else _Launcher(script, environment)


class _Launcher:
    def __init__(self, script, environment):
        self.script, self.environment = script, environment

    def start(self, arguments, output):
        return _ForkedProcess(_start([str(self.script), *arguments], self.environment, output, output))

    def close(self):
        pass


class _ForkedProcess:
    def __init__(self, process):
        self.process = process
        self.terminate = process.terminate

    def poll(self):
        return self.process.exitcode

    def wait(self):
        self.process.join()
        return self.process.exitcode


def _start(command, environment, out, err):
    process = _SERVER.Process(target=_run, args=(command, {**os.environ, **environment}, out, err))
    process.start()
    return process


def _run_new_processes(command, environments, outputs):
    processes = [
        subprocess.Popen(
            [sys.executable, *command], stdout=out.open('w'), stderr=err.open('w'), env={**os.environ, **environment}
        )
        for environment, (out, err) in zip(environments, outputs, strict=True)
    ]
    return [process.wait() for process in processes]


def _run(command, environment, out, err):
    multiprocessing.set_start_method(None, force=True)  # that of a process begun anew
    os.environ.update(environment)
    further = filter(None, environment.get('PYTHONPATH', '').split(os.pathsep))
    sys.path[:0] = [str(Path(command[0]).resolve().parent), *further]
    sys.argv, sys.stdout, sys.stderr = command, out.open('a'), err.open('a')
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        os.dup2(stream.fileno(), number)
    runpy.run_path(command[0], run_name='__main__')
