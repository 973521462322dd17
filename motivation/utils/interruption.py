"""Ending a run cleanly after a signal."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from motivation.utils.distributed import sum_over_processes
from motivation.utils.exit_signals import EXIT_STATUS


class Interrupted(SystemExit):
    """Raised after a signal ended training cleanly; its code is the exit status."""


class Interruption:
    """A context manager that records SIGTERM, SIGINT and SIGUSR1; a second SIGINT raises KeyboardInterrupt.

    It does nothing outside the main thread, where Python cannot handle signals.

    Attributes:
        signal: The signal received, or ``None``.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._waits = False

    def __enter__(self) -> 'Interruption':
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._remember) for number in EXIT_STATUS}
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """End at once on a signal within the context, which waits for something outside before the first batch."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._waits:
            self.signal = signal.Signals(number)
            os.write(2, f'\n{self.signal.name}: stopped before the first batch\n'.encode())
            raise Interrupted(self.exit_status)
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
        again = '; Ctrl-C again stops at once' if number == signal.SIGINT else ''
        os.write(2, f'\n{self.signal.name}: finishing this batch, then saving{again}\n'.encode())

    def asked(self) -> bool:
        """Whether any process received a signal; every process must call it."""
        return bool(sum_over_processes(self.signal is not None))

    @property
    def exit_status(self) -> int:
        """The exit status of the signal, that of SIGTERM if another process received it."""
        return EXIT_STATUS[self.signal or signal.SIGTERM]
