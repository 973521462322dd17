"""Reading what C libraries write to the standard error, where Python does not see it."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STANDARD_ERROR = 2


class NativeMessages:
    """Collects what is written to the standard error of the process, below Python, while a C function runs.

    It costs a few microseconds. If a second thread collects at the same time, or there is no standard error, nothing is
    collected and everything is written as usual.

    Example:
        >>> messages = NativeMessages()
        >>> with messages.collected() as lines:
        ...     pixels = cv2.imdecode(data, flags)
        >>> lines
        ['Corrupt JPEG data: premature end of data segment']
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0
        self._file = -1

    @contextmanager
    def collected(self) -> Iterator[list[str]]:
        """Collect, and fill the list that is returned with the lines at the end."""
        lines: list[str] = []
        if not self._lock.acquire(blocking=False):
            yield lines
            return
        try:
            usual = self._redirect()
            try:
                yield lines
            finally:
                if usual is not None:
                    os.dup2(usual, _STANDARD_ERROR)
                    os.close(usual)
                    lines += self._take()
        finally:
            self._lock.release()

    def _redirect(self) -> int | None:
        """Redirect the standard error to a file, and return a descriptor of what it was."""
        try:
            usual = os.dup(_STANDARD_ERROR)
        except OSError:
            return None
        if self._owner != os.getpid():  # a forked process would share its place in the file
            with tempfile.TemporaryFile() as file:
                self._file = os.dup(file.fileno())
            self._owner = os.getpid()
        os.dup2(self._file, _STANDARD_ERROR)
        return usual

    def _take(self) -> list[str]:
        size = os.lseek(self._file, 0, os.SEEK_CUR)
        if not size:
            return []
        os.lseek(self._file, 0, os.SEEK_SET)
        text = os.read(self._file, size)
        os.lseek(self._file, 0, os.SEEK_SET)
        os.ftruncate(self._file, 0)
        return text.decode(errors='replace').splitlines()

    def __getstate__(self) -> dict[str, object]:
        return {}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__()  # type: ignore[misc]
