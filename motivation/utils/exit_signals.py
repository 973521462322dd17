"""The signals that end a run after saving it, and their exit statuses; imports nothing heavy."""

import os
import signal
from types import FrameType
from typing import NoReturn

from motivation.utils.portable import WARNING_SIGNAL

# Exit status by signal: 128 + signal number. A job that is stopped to be restarted has not failed.
EXIT_STATUS: dict[signal.Signals, int] = {signal.SIGTERM: 143, signal.SIGINT: 130}
if WARNING_SIGNAL is not None:
    EXIT_STATUS[WARNING_SIGNAL] = 0


def ignore_signals() -> None:
    """Ignore these signals in a data-loader worker, except SIGTERM, which the main process sends to end its workers."""
    for number in EXIT_STATUS:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)


def end_quietly() -> None:
    """End at once on these signals, without a traceback, while a program starts and there is nothing to save."""
    for number in EXIT_STATUS:
        signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    os.write(2, f'\n{signal.Signals(number).name}: stopped; there was nothing to save\n'.encode())
    raise SystemExit(EXIT_STATUS[signal.Signals(number)])
