"""Signals that ask a run to end in order."""

import os
import signal
import threading
from types import FrameType
from typing import Any

from motivation.utils.distributed import sum_over_processes
from motivation.utils.exit_signals import EXIT_STATUS


class Interrupted(SystemExit):
    """Training has ended in order because a signal asked it to; carries the exit status."""


class Interruption:
    """While entered, SIGTERM, SIGINT and SIGUSR1 are remembered rather than obeyed; a second SIGINT is obeyed.

    Outside the main thread, where Python cannot, it does nothing.

    Attributes:
        signal: What came, if anything did.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> 'Interruption':
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._remember) for number in EXIT_STATUS}
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
        again = '; Ctrl-C again stops at once' if number == signal.SIGINT else ''
        os.write(2, f'\n{self.signal.name}: finishing this batch, then saving{again}\n'.encode())

    def asked(self) -> bool:
        """Whether to end now; all processes get the same answer, so all must ask."""
        return bool(sum_over_processes(self.signal is not None))

    @property
    def exit_status(self) -> int:
        """The status that says why training ended."""
        return EXIT_STATUS[self.signal or signal.SIGTERM]  # another process of the run got the signal
