"""A run in a Slurm job."""

import pickle
import signal
import time
from typing import TYPE_CHECKING, Any

from motivation.executors.executor import Outcome, RunRequest
from motivation.utils.lock import lock_holder

if TYPE_CHECKING:
    from motivation.executors.slurm import SlurmExecutor

# Exit statuses of a run that was told to end and has saved.
_STOPPED = (143, 130)

# Seconds after the end of a job in which a network file system may not yet show its result.
_GRACE = 20.0


class SlurmRun:
    """A run in a Slurm job, which is submitted again if Slurm kills it.

    Args:
        executor: Its executor.
        request: What to run.

    Attributes:
        request: What to run.
        job: submitit's job.
    """

    def __init__(self, executor: 'SlurmExecutor', request: RunRequest) -> None:
        self.request = request
        self.job: Any = None
        self._executor = executor
        self._retries = executor.retries
        self._is_cancelled = False
        self._is_between = False  # two jobs
        self._ended: float | None = None
        self._outcome: Outcome | None = None

    def begin(self, job: Any) -> None:
        """Follow a job."""
        self.job, self._is_between, self._ended = job, False, None

    def _goes_on(self) -> bool:
        """Return whether the job is queued or running, as far as is known."""
        if self._executor.cluster == 'local':
            return not self.job.done()
        watcher, job_id = self.job.watcher, self.job.job_id  # asks Slurm for all jobs together, and not each time
        return not watcher.is_done(job_id) and not watcher.get_state(job_id, mode='cache').startswith('PREEMPTED')

    def poll(self) -> Outcome | None:
        """Return how the run has ended, see :class:`~motivation.executors.executor.Run`."""
        self._executor.look()
        if self._outcome is None and not self._is_between:
            self._note_end()
        return self._outcome

    def _note_end(self) -> None:
        if self._has_result():
            code, problem = self._result()
            if code in _STOPPED and self._is_cancelled:
                self._outcome = Outcome(code)
            elif code is not None and (code < 0 or code in _STOPPED):
                self._retry(
                    f'Slurm stopped it (signal {signal.Signals(-code).name})' if code < 0 else 'Slurm stopped it'
                )
            else:
                self._outcome = Outcome(1 if code is None else code, problem)
        elif self._goes_on():
            self._ended = None
        elif self._ended is None:
            self._ended = time.monotonic()
        elif self._is_cancelled or time.monotonic() - self._ended > _GRACE or self._executor.cluster == 'local':
            self._retry(f'Slurm ended its job ({self.job.state})')

    def _has_result(self) -> bool:
        path = self.job.paths.result_pickle
        # On this machine a process that is over has left its result, which the last look may not have seen.
        is_over = self._executor.cluster == 'local' and self.job.done()
        return path.name in self._executor.results or (is_over and path.exists())

    def _result(self) -> tuple[int | None, str]:
        """Return the exit status of the run, or ``None`` and what went wrong in the job around it."""
        try:
            what, result = pickle.loads(self.job.paths.result_pickle.read_bytes())
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            return None, f'the result of its job cannot be read ({error})'
        if what == 'success':
            return result, ''
        return None, f'its job failed: {result.strip().rpartition(chr(10))[2]}'

    def _retry(self, reason: str) -> None:
        if self._is_cancelled:
            self._outcome = Outcome(1, 'cancelled')
        elif self._retries == 0:
            times = self._executor.retries
            self._outcome = Outcome(1, f'{reason}, after {times} retries' if times else reason)
        else:
            self._retries -= 1
            self._executor.submit_again(self)
            self._is_between = True

    def cancel(self) -> None:
        """Have the run save and end, or taken out of the queue."""
        self._is_cancelled = True
        if self._outcome is None:
            self._executor.cancel(self)
            if self._is_between:
                self._outcome = Outcome(1, 'cancelled')

    def wait(self) -> Outcome:
        """Wait for the end of the run, and of its process, which may outlive the job while it saves."""
        while (outcome := self.poll()) is None:
            time.sleep(0.2)
        while lock_holder(self.request.folder) is not None:
            time.sleep(0.2)
        return outcome
