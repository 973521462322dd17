"""Recording results that could not be written, for an error at the end of the run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from motivation.errors import TrainingError


class WriteFailures(dict[str, str]):
    """The reason of every result that could not be written, by name.

    A failure, as on a full disk, does not stop training; :meth:`check` raises an error at the end.

    Args:
        announce: Called with a sentence about each failure.

    Attributes:
        written: Names of the results that were written, as keys, in their order.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        super().__init__()
        self.written: dict[str, None] = {}
        self._announce = announce
        self._remedies: dict[str, str] = {}  # of what lacks for another reason than the disk
        self._log_is_whole = True

    def try_to_write(self, path: Path, write: Callable[[], Any]) -> None:
        """Write a result, or record and announce the failure.

        Args:
            path: Path of the file.
            write: Writes the file.
        """
        try:
            write()
            self.pop(path.name, None)
            self.written[path.name] = None
        except OSError as error:
            self.written.pop(path.name, None)
            self[path.name] = error.strerror or str(error)
            self._announce(f"'{path}' cannot be written ({self[path.name]}); the run goes on: make room")

    def note(self, name: str, problem: str, remedy: str) -> None:
        """Record and announce that a result could not be made for another reason than the disk.

        Args:
            name: Name of the result.
            problem: What is wrong, as a clause.
            remedy: How to make it after the run.
        """
        self[name] = problem
        self._remedies[name] = remedy
        self._announce(f"'{name}' is not written ({problem}); the run is complete without it: {remedy}")

    def lose_log(self, log_dir: str, error: OSError) -> None:
        """Announce once that the log will lack steps, because of ``error``."""
        if self._log_is_whole:
            self._log_is_whole = False
            self._announce(
                f"the log in '{log_dir}' cannot be written ({error.strerror}) and will lack steps; make room"
            )

    def check(self, work_dir: str) -> None:
        """Raise an error if results are missing.

        Raises:
            TrainingError: Results could not be written; names them.
        """
        if self:
            remedies = {
                self._remedies.get(name, 'make room, then --resume, which writes what is missing') for name in self
            }
            raise TrainingError(
                f"'{work_dir}' lacks {', '.join(self)} ({', '.join(dict.fromkeys(self.values()))}): {'; '.join(sorted(remedies))}"
            )
