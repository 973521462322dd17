"""Signals that ask a run to end in order, and what it then says."""

import signal

# What is asked, and the exit status that says it was done: 128 + signal number; Slurm's warning before it takes the
# machine, after which it starts the job anew, is no failure.
EXIT_STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 0}


def ignore_signals() -> None:
    """In a data-loading worker: leave signals to the main process, but for SIGTERM, by which that ends its workers."""
    for number in EXIT_STATUS:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
