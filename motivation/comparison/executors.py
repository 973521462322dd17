"""Where the runs of a comparison run: one interface, and processes of this machine behind it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

# What a run imports before it trains, which takes it most of its first seconds.
PRELOADED = (
    'torch', 'torchvision', 'cv2', 'timm', 'mmengine', 'torch.utils.tensorboard', 'motivation.cli',
    'motivation.hooks', 'motivation.policies', 'motivation.evaluation', 'motivation.report.picture',
)  # fmt: skip

# Devices of GPUs: to look whether there is one, which imports do, is enough that no forked process can use it.
_GPUS = ('/dev/nvidiactl', '/dev/kfd', '/dev/dxg')


# By the path of this very package, and not from whatever folder the comparison is called in.
_ROOT = Path(__file__).resolve().parents[2]
_SERVE = (
    'import sys; sys.path[0] = sys.argv[1]; from motivation.comparison.fork_server import main; main(*sys.argv[2:])'
)


class Run(Protocol):
    """A run that was submitted."""

    def poll(self) -> int | None:
        """Its exit status, that of a signal negative; ``None`` while it goes on."""

    def terminate(self) -> None:
        """Ask it to end in order."""

    def wait(self) -> int:
        """Wait for its end and return its exit status."""


class Executor(Protocol):
    """Begins runs."""

    def submit(self, arguments: Sequence[str], output: Path) -> Run:
        """Begin a run.

        Args:
            arguments: Of the script that runs, such as a config and ``--work-dir``.
            output: File to which what it prints is appended.
        """

    def close(self) -> None:
        """Give back what was held; runs that go on go on."""


def choose_executor(script: Path, environment: Mapping[str, str]) -> Executor:
    """The quickest executor that works here.

    Args:
        script: What is run.
        environment: Variables of the runs, beside this process's.
    """
    forks = sys.platform.startswith('linux') and not any(map(os.path.exists, _GPUS))
    return ForkExecutor(script, environment, PRELOADED) if forks else ProcessExecutor(script, environment)


class ProcessExecutor:
    """Begins each run in a new interpreter.

    Args:
        script: What is run.
        environment: Variables of the runs, beside this process's.
    """

    def __init__(self, script: Path, environment: Mapping[str, str]) -> None:
        self.script = script
        self.environment = environment

    def submit(self, arguments: Sequence[str], output: Path) -> Run:
        """As of :class:`Executor`."""
        with output.open('ab') as file:
            return subprocess.Popen(
                [sys.executable, str(self.script), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **self.environment},
            )

    def close(self) -> None:
        """Nothing is held."""


class ForkExecutor:
    """Forks each run from a process that has done all imports and computed nothing; see ``fork_server``.

    Args:
        script: What is run.
        environment: Variables of the runs, beside this process's.
        preload: Modules that the server imports.
    """

    def __init__(self, script: Path, environment: Mapping[str, str], preload: Sequence[str]) -> None:
        self.script = script
        self.environment = environment
        self.preload = preload
        self._server: subprocess.Popen[bytes] | None = None
        self._runs: list[ForkedRun] = []
        self._unread = b''

    def submit(self, arguments: Sequence[str], output: Path) -> Run:
        """As of :class:`Executor`; the first one starts the server."""
        if self._server is None:
            self._server = self._start()
        run = ForkedRun(self, len(self._runs))
        self._runs.append(run)
        self.send({'run': run.number, 'arguments': list(arguments), 'output': str(output)})
        return run

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, '-c', _SERVE, str(_ROOT), str(self.script.resolve()), *self.preload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **self.environment},
            bufsize=0,
        )

    def send(self, request: dict[str, Any]) -> None:
        """Tell the server something; if it is gone, :meth:`receive` will see it."""
        assert self._server is not None and self._server.stdin is not None
        with suppress(BrokenPipeError):
            self._server.stdin.write(json.dumps(request).encode() + b'\n')

    def receive(self, wait: bool) -> None:
        """Take note of what the server has said.

        Args:
            wait: Whether to wait until it says something.
        """
        assert self._server is not None and self._server.stdout is not None
        os.set_blocking(self._server.stdout.fileno(), wait)
        said = self._server.stdout.read(65536)
        if said is None:
            return
        *lines, self._unread = (self._unread + said).split(b'\n')
        for line in lines:
            message = json.loads(line)
            run = self._runs[message['run']]
            run.pid, run.code = message['pid'], message.get('code')
        if not said:  # the server is gone, and nobody follows its runs any more
            for run in self._runs:
                run.abandon()

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            for pipe in (self._server.stdin, self._server.stdout):
                assert pipe is not None
                pipe.close()
            self._server.wait()


class ForkedRun:
    """A run that a server forked.

    Attributes:
        number: What the server calls it.
        pid: Its process, once it has begun.
        code: Its exit status, once it has ended.
    """

    def __init__(self, executor: ForkExecutor, number: int) -> None:
        self.number = number
        self.pid: int | None = None
        self.code: int | None = None
        self._executor = executor

    def poll(self) -> int | None:
        """As of :class:`Run`."""
        if self.code is None:
            self._executor.receive(wait=False)
        return self.code

    def terminate(self) -> None:
        """As of :class:`Run`; by the server, which knows whether the process is still the run."""
        self._executor.send({'cancel': self.number})

    def wait(self) -> int:
        """As of :class:`Run`."""
        while self.code is None:
            self._executor.receive(wait=True)
        return self.code

    def abandon(self) -> None:
        """End it, if it has not ended, for want of a server."""
        if self.code is None:
            self.code = 1
            if self.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGTERM)
