"""Results that cannot be written, on a full disk say, do not stop a run; it ends with an error that names them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from motivation.errors import TrainingError


class WriteFailures(dict[str, str]):
    """What could not be written the last time it was tried, by its name, and why.

    Args:
        announce: Called with a sentence about each failure.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        super().__init__()
        self._announce = announce
        self._log_is_whole = True

    def try_to_write(self, path: Path, write: Callable[[], Any]) -> None:
        """Write a result; where that fails, say so.

        Args:
            path: The file.
            write: Writes it.
        """
        try:
            write()
            self.pop(path.name, None)
        except OSError as error:
            self[path.name] = error.strerror or str(error)
            self._announce(f"'{path}' cannot be written ({self[path.name]}); the run goes on: make room")

    def lose_log(self, log_dir: str, error: OSError) -> None:
        """Say once that the log lacks steps; ``error`` is why."""
        if self._log_is_whole:
            self._log_is_whole = False
            self._announce(
                f"the log in '{log_dir}' cannot be written ({error.strerror}) and will lack steps; make room"
            )

    def check(self, work_dir: str) -> None:
        """End a run that lacks some of its results.

        Raises:
            TrainingError: Names them.
        """
        if self:
            raise TrainingError(
                f"'{work_dir}' lacks {', '.join(self)} ({', '.join({*self.values()})}): make room, then --resume, which "
                'writes what is missing'
            )
