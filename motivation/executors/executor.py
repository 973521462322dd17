"""What an executor does: start training runs somewhere, follow them and stop them."""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from motivation.utils.lock import lock_holder

OUTPUT = 'output.txt'


@dataclass(frozen=True)
class RunRequest:
    """A run to execute.

    Attributes:
        name: Name for queues and logs, such as ``'consecutive_seed0'``.
        config: Path of its config.
        folder: Its work_dir, which exists.
        reads: Folders of the finished runs from which its config takes files.
    """

    name: str
    config: Path
    folder: Path
    reads: tuple[Path, ...] = ()

    @property
    def output(self) -> Path:
        """File to which stdout and stderr of the run are appended."""
        return self.folder / OUTPUT

    def arguments(self) -> list[str]:
        """Return the arguments of ``motivation train``, with which a run that is started again goes on."""
        return [str(self.config), '--work-dir', str(self.folder), '--resume', 'auto']


@dataclass(frozen=True)
class Outcome:
    """How a run has ended.

    Attributes:
        code: Exit status of its process, the negative number of the signal that ended it, or 1 if there was no process.
        reason: What the executor knows about a failure that the output of the run does not say; ``''`` (default) if
            nothing.
    """

    code: int
    reason: str = ''


class Run(Protocol):
    """A submitted run."""

    def poll(self) -> Outcome | None:
        """Return how the run has ended, or ``None`` while it waits or goes on.

        It is called for every run in turn, so whatever takes long is asked for all runs together, and not each time.
        """

    def cancel(self) -> None:
        """Ask the run to save and end, or take it out of the queue."""

    def wait(self) -> Outcome:
        """Wait for the end of the run."""


class LockedRun:
    """A run that a former comparison started, and whose process still holds the lock of its folder.

    Args:
        folder: Its work_dir.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._asked = 0.0

    def poll(self) -> Outcome | None:
        """Return an outcome once nobody holds the lock; how the run has ended, its folder says. See :class:`Run`."""
        if time.monotonic() - self._asked < 1:
            return None
        self._asked = time.monotonic()
        return Outcome(0) if lock_holder(self.folder) is None else None

    def cancel(self) -> None:
        """Do nothing: the process may be on another machine, and was not started by this comparison."""

    def wait(self) -> Outcome:
        """Return at once, without waiting for the run of somebody else."""
        return Outcome(0)


class Executor(ABC):
    """A place where runs are executed; the arguments of a subclass are the fields of ``--executor NAME:KEY=VALUE``.

    Attributes:
        slots: Number of runs that it takes at a time; ``None`` if it queues any number itself. ``--jobs`` replaces it
            before :meth:`open`.
    """

    slots: int | None = None

    def environment(self) -> dict[str, str]:
        """Return environment variables of the runs that follow from what each gets, such as its number of threads."""
        return {}

    @abstractmethod
    def open(self, script: Path, environment: Mapping[str, str], folder: Path) -> None:
        """Prepare to execute runs, and refuse what cannot work before the first one starts.

        Args:
            script: Path of a file that does what ``motivation train`` does.
            environment: Environment variables of the runs, in addition to those of this process.
            folder: Folder of the comparison, which exists, for files of the executor.

        Raises:
            ConfigError: A package is missing, a cluster cannot be reached, or has not what a run asks for.
        """

    @abstractmethod
    def submit(self, requests: Sequence[RunRequest]) -> list[Run]:
        """Start or queue runs.

        Args:
            requests: Runs that may start now, at most as many as there are free slots.

        Returns:
            The runs, in the order of the requests.

        Raises:
            ConfigError: They are refused, which ends the comparison.
        """

    def find(self, request: RunRequest) -> Run | None:
        """Return the run of a former comparison that still goes on or waits in the folder of a request.

        Without one the request is submitted. By default whoever holds the lock of the folder is waited for.
        """
        return LockedRun(request.folder) if lock_holder(request.folder) is not None else None

    def close(self) -> None:  # noqa: B027, most executors hold nothing
        """Release what the executor holds, without stopping its runs."""
