"""Signals that ask a run to end in order, and what it then says; imports nothing heavy."""

import os
import signal
from types import FrameType
from typing import NoReturn

# What is asked, and the exit status that says it was done: 128 + signal number; Slurm's warning before it takes the
# machine, after which it starts the job anew, is no failure.
EXIT_STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 0}


def ignore_signals() -> None:
    """In a data-loading worker: leave signals to the main process, but for SIGTERM, by which that ends its workers."""
    for number in EXIT_STATUS:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)


def end_quietly() -> None:
    """From now on end at once where a signal asks for it: while a program starts, there is nothing to save."""
    for number in EXIT_STATUS:
        signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    os.write(2, f'\n{signal.Signals(number).name}: ended where nothing was to be saved\n'.encode())
    raise SystemExit(EXIT_STATUS[signal.Signals(number)])
