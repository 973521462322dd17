"""What a job of the slurm executor does; it is pickled by value, so that the job imports nothing of this package."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any


class TrainingJob:
    """A training run as a child process of the job, which saves and ends when Slurm warns or stops the job.

    Args:
        command: Command of the run.
        output: File to which its stdout and stderr are appended.
        report: File that says that the run has finished.
    """

    def __init__(self, command: list[str], output: str, report: str) -> None:
        self.command = command
        self.output = output
        self.report = report
        self._pid: int | None = None

    def __call__(self) -> int:
        """Run it, and return its exit status."""
        if Path(self.report).is_file():  # it had just finished when Slurm requeued the job
            return 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        with Path(self.output).open('ab') as file:
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,  # Slurm signals the process group of the job, and only this process may pass it on
                preexec_fn=_ignore_warning,
            )
        self._pid = process.pid
        self._wait()
        return process.wait()

    def checkpoint(self) -> Any:
        """Have the run save and end, as submitit asks before a time limit; the requeued job resumes it."""
        # Imported here, because the package is optional where no job is submitted.
        from submitit.helpers import DelayedSubmission

        if self._pid is not None:
            os.kill(self._pid, signal.SIGUSR1)
            self._wait()
        return DelayedSubmission(TrainingJob(self.command, self.output, self.report))

    def _wait(self) -> None:
        # Popen.wait holds a lock, which a signal handler that interrupts it would wait for in vain.
        assert self._pid is not None
        os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._pid is None:
            sys.exit(128 + number)
        os.kill(self._pid, signal.SIGTERM)


def _ignore_warning() -> None:
    """Ignore submitit's signal in the run, where Slurm sends it to all processes of a job."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
