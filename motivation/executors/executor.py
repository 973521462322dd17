"""What an executor does: start training runs somewhere, follow them and stop them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from motivation.utils.checkpoint import find_checkpoints

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
        """Return the arguments of ``motivation train``; with a checkpoint in the folder, the run is resumed.

        To be called where and when the run starts, so that a run that is started again goes on.
        """
        resume = ['--resume'] if find_checkpoints(self.folder) else []
        return [str(self.config), '--work-dir', str(self.folder), *resume]


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
        """Return how the run has ended, or ``None`` while it waits or goes on."""

    def cancel(self) -> None:
        """Ask the run to save and end, or take it out of the queue."""

    def wait(self) -> Outcome:
        """Wait for the end of the run."""


class Executor(ABC):
    """A place where runs are executed; the arguments of a subclass are the fields of ``--executor NAME:KEY=VALUE``.

    Attributes:
        slots: Number of runs that it takes at a time; ``None`` if it queues any number itself.
    """

    slots: int | None = None

    @abstractmethod
    def open(self, script: Path, environment: Mapping[str, str]) -> None:
        """Prepare to execute runs, and refuse what cannot work before the first one starts.

        Args:
            script: Path of a file that does what ``motivation train`` does.
            environment: Environment variables of the runs, in addition to those of this process.

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
        """

    def close(self) -> None:
        """Release what the executor holds, without stopping its runs."""
