"""Starting runs as processes of this machine: new interpreters, or forks of one that has imported everything."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

# Modules that every run imports, which takes most of the time before the first batch.
PRELOADED = (
    'torch', 'torchvision', 'cv2', 'timm', 'mmengine', 'torch.utils.tensorboard', 'motivation.cli',
    'motivation.hooks', 'motivation.policies', 'motivation.evaluation', 'motivation.report.picture',
)  # fmt: skip

# Device files of GPUs. Imports query the GPU, after which a forked process cannot use it.
_GPUS = ('/dev/nvidiactl', '/dev/kfd', '/dev/dxg')

# The server imports this package by its path, not from the folder in which the comparison is called, and itself without
# the package, whose imports take seconds.
_ROOT = Path(__file__).resolve().parents[2]
_SERVE = 'import sys; sys.path[0] = sys.argv[1]; from fork_server import main; sys.path[0] = sys.argv[2]; main(*sys.argv[3:])'


class Process(Protocol):
    """A process of this machine."""

    def poll(self) -> int | None:
        """Return the exit status, the negative signal number after a signal, or ``None`` while the process goes on."""

    def terminate(self) -> None:
        """Send SIGTERM, after which a run saves and ends."""

    def wait(self) -> int:
        """Wait for the end of the process and return its exit status."""


class Launcher(Protocol):
    """An object that starts processes."""

    def start(self, arguments: Sequence[str], output: Path) -> Process:
        """Start a process.

        Args:
            arguments: Command-line arguments of the script, such as a config and ``--work-dir``.
            output: File to which stdout and stderr are appended.
        """

    def close(self) -> None:
        """Release the resources of the launcher, without stopping its processes."""


def choose_launcher(script: Path, environment: Mapping[str, str]) -> Launcher:
    """Return the fastest launcher that works on this machine.

    Args:
        script: Path of the script to run.
        environment: Environment variables of the processes, in addition to those of this process.
    """
    forks = sys.platform.startswith('linux') and not any(map(os.path.exists, _GPUS))
    return ForkLauncher(script, environment, PRELOADED) if forks else ProcessLauncher(script, environment)


class ProcessLauncher:
    """A launcher that starts each process as a new interpreter.

    Args:
        script: Path of the script to run.
        environment: Environment variables of the processes, in addition to those of this process.
    """

    def __init__(self, script: Path, environment: Mapping[str, str]) -> None:
        self.script = script
        self.environment = environment

    def start(self, arguments: Sequence[str], output: Path) -> Process:
        """Start a process, see :class:`Launcher`."""
        with output.open('ab') as file:
            return subprocess.Popen(
                [sys.executable, str(self.script), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **self.environment},
            )

    def close(self) -> None:
        """Do nothing; there are no resources to release."""


class ForkLauncher:
    """A launcher that forks each process from a server that has imported everything; see ``fork_server``.

    Args:
        script: Path of the script to run.
        environment: Environment variables of the processes, in addition to those of this process.
        preload: Modules that the server imports.
    """

    def __init__(self, script: Path, environment: Mapping[str, str], preload: Sequence[str]) -> None:
        self.script = script
        self.environment = environment
        self.preload = preload
        self._server: subprocess.Popen[bytes] | None = None
        self._runs: list[ForkedProcess] = []
        self._unread = b''

    def start(self, arguments: Sequence[str], output: Path) -> Process:
        """Start a process, see :class:`Launcher`; the first call starts the server."""
        if self._server is None:
            self._server = self._start()
        run = ForkedProcess(self, len(self._runs))
        self._runs.append(run)
        self.send({'run': run.number, 'arguments': list(arguments), 'output': str(output)})
        return run

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable,
                '-c',
                _SERVE,
                str(Path(__file__).resolve().parent),
                str(_ROOT),
                str(self.script.resolve()),
                *self.preload,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **self.environment},
            bufsize=0,
        )

    def send(self, request: dict[str, Any]) -> None:
        """Send a request to the server; :meth:`receive` notices if the server has died."""
        assert self._server is not None and self._server.stdin is not None
        with suppress(BrokenPipeError):
            self._server.stdin.write(json.dumps(request).encode() + b'\n')

    def receive(self, wait: bool) -> None:
        """Read the messages of the server and update its runs.

        Args:
            wait: Whether to wait for a message if there is none.
        """
        assert self._server is not None and self._server.stdout is not None
        os.set_blocking(self._server.stdout.fileno(), wait)
        received = self._server.stdout.read(65536)
        if received is None:
            return
        *lines, self._unread = (self._unread + received).split(b'\n')
        for line in lines:
            message = json.loads(line)
            run = self._runs[message['run']]
            run.pid, run.code = message['pid'], message.get('code')
        if not received:  # the server has died, so nothing reports the end of its runs
            for run in self._runs:
                run.abandon()

    def close(self) -> None:
        """Stop the server, without stopping its runs."""
        if self._server is not None:
            for pipe in (self._server.stdin, self._server.stdout):
                assert pipe is not None
                pipe.close()
            self._server.wait()


class ForkedProcess:
    """A process that the server forked.

    Attributes:
        number: Number of the process in messages to and from the server.
        pid: Process ID, or ``None`` before the run has started.
        code: Exit status, or ``None`` before the run has ended.
    """

    def __init__(self, launcher: ForkLauncher, number: int) -> None:
        self.number = number
        self.pid: int | None = None
        self.code: int | None = None
        self._launcher = launcher

    def poll(self) -> int | None:
        """Return the exit status, see :class:`Process`."""
        if self.code is None:
            self._launcher.receive(wait=False)
        return self.code

    def terminate(self) -> None:
        """End the run, see :class:`Process`, through the server, which knows whether the process still exists."""
        self._launcher.send({'cancel': self.number})

    def wait(self) -> int:
        """Wait for the end of the run, see :class:`Process`."""
        while self.code is None:
            self._launcher.receive(wait=True)
        return self.code

    def abandon(self) -> None:
        """Terminate the run if it has not ended, because its server has died."""
        if self.code is None:
            self.code = 1
            if self.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGTERM)
