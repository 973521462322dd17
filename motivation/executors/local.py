"""The executor of this machine."""

import os
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from motivation.executors.executor import Executor, Outcome, Run, RunRequest
from motivation.executors.gpus import GpuPool, read_gpus
from motivation.executors.processes import Launcher, Process, ProcessLauncher, choose_launcher
from motivation.registry import EXECUTORS


@EXECUTORS.register_module(name='local')
class LocalExecutor(Executor):
    """Processes of this machine: one at a time, or one for each GPU, if ``--jobs`` does not say otherwise.

    With GPUs each run sees one of them, of those that ``CUDA_VISIBLE_DEVICES`` names if it is set. More runs than GPUs
    share them where memory allows, see :class:`~motivation.executors.gpus.GpuPool`; the others wait.

    Example:
        >>> executor = 'local'
    """

    def __init__(self) -> None:
        gpus = read_gpus()
        self.slots: int = max(len(gpus), 1)
        self._pool = GpuPool(gpus) if gpus else None
        self._launchers: dict[str | None, Launcher] = {}
        self._waiting: deque[LocalRun] = deque()

    def environment(self) -> dict[str, str]:
        """Share the processors among several runs, unless ``OMP_NUM_THREADS`` is set."""
        if self.slots == 1 or 'OMP_NUM_THREADS' in os.environ:
            return {}
        return {'OMP_NUM_THREADS': str(max((os.cpu_count() or 1) // self.slots, 1))}

    def open(self, script: Path, environment: Mapping[str, str], folder: Path) -> None:
        """Prepare to start processes, see :class:`~motivation.executors.executor.Executor`."""
        self._script, self._environment = script, environment

    def submit(self, requests: Sequence[RunRequest]) -> list[Run]:
        """Start runs, see :class:`~motivation.executors.executor.Executor`; without a free GPU they wait."""
        runs = [LocalRun(self, request) for request in requests]
        self._waiting.extend(runs)
        self.start_waiting()
        return list(runs)

    def start_waiting(self) -> None:
        """Start the runs that wait, as long as there is a GPU for them."""
        while self._waiting:
            gpu = self._pool.take() if self._pool else None
            if self._pool and gpu is None:
                return
            run = self._waiting.popleft()
            run.gpu, run.process = gpu, self._launcher(gpu).start(run.request.arguments(), run.request.output)

    def _launcher(self, gpu: str | None) -> Launcher:
        if gpu not in self._launchers:
            self._launchers[gpu] = (
                choose_launcher(self._script, self._environment)
                if gpu is None
                else ProcessLauncher(self._script, {**self._environment, 'CUDA_VISIBLE_DEVICES': gpu})
            )
        return self._launchers[gpu]

    def watch(self) -> None:
        """Start what waits, and note the memory of the runs."""
        if self._pool:
            self._pool.watch()
            self.start_waiting()

    def drop(self, run: 'LocalRun') -> None:
        """Take a run out of the queue."""
        self._waiting.remove(run)

    def give_back(self, gpu: str | None) -> None:
        """Note that the run on a GPU has ended."""
        if self._pool and gpu is not None:
            self._pool.give_back(gpu)

    def close(self) -> None:
        """Stop the process from which runs are forked, if there is one, without stopping them."""
        for launcher in self._launchers.values():
            launcher.close()
        self._launchers.clear()


class LocalRun:
    """A run on this machine, or one that waits for a GPU.

    Attributes:
        request: What to run.
        process: Its process; ``None`` before it starts.
        gpu: Name of its GPU; ``None`` without GPUs.
    """

    def __init__(self, executor: LocalExecutor, request: RunRequest) -> None:
        self.request = request
        self.process: Process | None = None
        self.gpu: str | None = None
        self._executor = executor
        self._outcome: Outcome | None = None

    def poll(self) -> Outcome | None:
        """Return how the run has ended, see :class:`~motivation.executors.executor.Run`."""
        if self._outcome is None:
            self._executor.watch()
            code = self.process.poll() if self.process else None
            if code is not None:
                self._end(code)
        return self._outcome

    def cancel(self) -> None:
        """Ask the run to save and end, or take it out of the queue."""
        if self.process is not None:
            self.process.terminate()
        elif self._outcome is None:
            self._executor.drop(self)
            self._outcome = Outcome(1, 'cancelled before it started')

    def wait(self) -> Outcome:
        """Wait for the end of the run."""
        if self._outcome is None:
            assert self.process is not None, 'runs that wait for a GPU are cancelled, or polled'
            self._end(self.process.wait())
        assert self._outcome is not None
        return self._outcome

    def _end(self, code: int) -> None:
        self._outcome = Outcome(code)
        self._executor.give_back(self.gpu)
