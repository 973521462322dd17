"""Scheduling of the runs of a comparison: as many at a time as the executor takes, each after the run it is derived from."""

import heapq
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from motivation.comparison.arms import Arm
from motivation.errors import ConfigError
from motivation.executors.executor import OUTPUT, Executor, Outcome, Run, RunRequest

# Seconds between two rounds of polling all runs: at least, at most, and in times of what polling them took.
_LEAST, _MOST, _ROUNDS = 0.1, 5.0, 20

# Bytes at the end of a run's output in which its last line is looked for.
_TAIL = 4096


@dataclass
class Job:
    """One run of a comparison: an arm with a seed.

    Attributes:
        arm: The arm.
        seed: The seed.
        folder: The work_dir of the run.
        status: ``'waiting'``, ``'running'`` (with the executor, which may have it in a queue), ``'finished'``,
            ``'failed'``, ``'skipped'`` if the run that it is derived from did not finish, or ``'not needed'`` if the
            comparison was decided without it.
        reason: Why the run failed or was skipped.
        seconds: Duration in seconds, since the run was last submitted; 0 if this process did not submit it.
        run: The submitted run.
        followed: Whether a former comparison submitted it.
    """

    arm: Arm
    seed: int
    folder: Path
    status: Literal['waiting', 'running', 'finished', 'failed', 'skipped', 'not needed'] = 'waiting'
    reason: str = ''
    seconds: float = 0.0
    run: Run | None = field(default=None, repr=False)
    followed: bool = False
    begun: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether the status is final."""
        return self.status not in ('waiting', 'running')

    @property
    def last_line(self) -> str:
        """The last line that the run printed; ``''`` if there is none."""
        try:
            with (self.folder / OUTPUT).open('rb') as file:
                file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
                lines = file.read().decode(errors='replace').splitlines()
        except OSError:
            return ''
        return next((line.strip() for line in reversed(lines) if line.strip()), '')


def is_finished(folder: Path) -> bool:
    """Return whether a run has finished and written its report."""
    return (folder / 'report.json').is_file()


def run_jobs(
    jobs: Sequence[Job],
    executor: Executor,
    prepare: Callable[[Job], Path],
    changed: Callable[[Job], None],
    waiting: Callable[[], None],
    is_decided: Callable[[], bool] | None = None,
) -> None:
    """Run all jobs; a failed job does not stop the others.

    Args:
        jobs: The jobs; those with status ``'finished'`` are not run.
        executor: Executes the runs, as many at a time as it has slots.
        prepare: Writes the config of a job, after its reference has finished, and returns the path. Raises
            :class:`~motivation.errors.ConfigError` if the job cannot be run or its folder holds another run.
        changed: Called after the status of a job has changed.
        waiting: Called repeatedly while jobs run.
        is_decided: Called before the first job starts and after each one that is over; once it returns ``True``, waiting jobs are not needed, and
            running ones are cancelled. Default: all jobs are run.

    Raises:
        ConfigError: The executor refuses the runs.
    """
    schedule = _Schedule(jobs, executor, prepare, changed, is_decided)
    try:
        while schedule.goes_on:
            begun = time.monotonic()
            schedule.poll()
            spent = time.monotonic() - begun
            schedule.submit()
            waiting()
            time.sleep(min(max(_LEAST, _ROUNDS * spent), _MOST))
    finally:
        schedule.stop()


class _Schedule:
    """The jobs that are ready, in their order, those that wait for another, and those that the executor has."""

    def __init__(
        self,
        jobs: Sequence[Job],
        executor: Executor,
        prepare: Callable[[Job], Path],
        changed: Callable[[Job], None],
        is_decided: Callable[[], bool] | None,
    ) -> None:
        self._executor, self._prepare, self._changed, self._is_decided = executor, prepare, changed, is_decided
        self._jobs = jobs
        self._places = {(job.arm.label, job.seed): place for place, job in enumerate(jobs)}
        self._ready: list[int] = []  # a heap of places, so that jobs start in their order
        self._derived: dict[int, list[int]] = {}
        self._running: set[int] = set()
        self._decided = False
        for place, job in enumerate(jobs):
            reference = self._reference(job)
            if job.status == 'waiting' and (reference is None or reference.is_over):
                self._ready.append(place)
            elif job.status == 'waiting' and reference is not None:
                self._derived.setdefault(self._place(reference), []).append(place)
        if is_decided is not None and is_decided():
            self._drop_the_rest()

    @property
    def goes_on(self) -> bool:
        return bool(self._ready or self._running)

    def poll(self) -> None:
        """Note which runs have ended."""
        for place in list(self._running):
            run = self._jobs[place].run
            assert run is not None
            outcome = run.poll()
            if outcome is not None:
                self._running.remove(place)
                self._end(self._jobs[place], outcome)

    def submit(self) -> None:
        """Submit the jobs that are ready and find a slot."""
        requested: dict[int, RunRequest] = {}
        slots = self._executor.slots
        while self._ready and (slots is None or len(self._running) + len(requested) < slots):
            place = heapq.heappop(self._ready)
            request = self._request(self._jobs[place])
            if request is not None:
                requested[place] = request
        if requested:
            runs = self._executor.submit(list(requested.values()))
            for place, run in zip(requested, runs, strict=True):
                self._follow(place, run)

    def stop(self) -> None:
        """Have the running jobs save and end."""
        runs = [run for place in self._running if (run := self._jobs[place].run) is not None]
        for run in runs:
            run.cancel()
        for run in runs:
            run.wait()

    def _reference(self, job: Job) -> Job | None:
        place = self._places.get((job.arm.reference or '', job.seed))
        return None if place is None else self._jobs[place]

    def _place(self, job: Job) -> int:
        return self._places[job.arm.label, job.seed]

    def _request(self, job: Job) -> RunRequest | None:
        """Return the run of a job; ``None`` if it is not to be submitted, which its status then says."""
        reference = self._reference(job)
        if reference is not None and reference.status != 'finished':
            self._settle(job, 'skipped', f'it is derived from {reference.arm.label!r}, which has not finished')
            return None
        try:
            config = self._prepare(job)
        except ConfigError as error:
            self._settle(job, 'failed', str(error))
            return None
        if is_finished(job.folder):
            self._settle(job, 'finished')
            return None
        job.folder.mkdir(parents=True, exist_ok=True)
        reads = () if reference is None else (reference.folder,)
        request = RunRequest(f'{job.arm.folder}_seed{job.seed}', config, job.folder, reads)
        earlier = self._executor.find(request)
        if earlier is not None:
            job.followed = True
            self._follow(self._place(job), earlier)
            return None
        return request

    def _follow(self, place: int, run: Run) -> None:
        job = self._jobs[place]
        job.run, job.status, job.begun = run, 'running', time.monotonic()
        self._running.add(place)
        self._changed(job)

    def _end(self, job: Job, outcome: Outcome) -> None:
        job.seconds = 0.0 if job.followed else time.monotonic() - job.begun
        if outcome.code == 0 and is_finished(job.folder):
            self._settle(job, 'finished')
        elif self._decided:
            self._settle(job, 'not needed')
        elif job.followed:  # it was stopped with the comparison that had submitted it
            job.status, job.followed = 'waiting', False
            heapq.heappush(self._ready, self._place(job))
        else:
            said = [outcome.reason, job.last_line]
            reason = '; its last line: '.join(filter(None, said)) or _ending(outcome.code)
            self._settle(job, 'failed', f'{reason} (full output: {job.folder / OUTPUT})')

    def _settle(
        self, job: Job, status: Literal['finished', 'failed', 'skipped', 'not needed'], reason: str = ''
    ) -> None:
        """Give a job its final status, and those that are derived from it their turn."""
        job.status, job.reason = status, reason
        self._changed(job)
        for place in self._derived.pop(self._place(job), ()):
            heapq.heappush(self._ready, place)
        if status != 'not needed' and not self._decided and self._is_decided is not None and self._is_decided():
            self._drop_the_rest()

    def _drop_the_rest(self) -> None:
        self._decided = True
        for place in self._running:
            run = self._jobs[place].run
            assert run is not None
            run.cancel()
        self._ready.clear()
        self._derived.clear()
        for job in self._jobs:
            if job.status == 'waiting':
                self._settle(job, 'not needed')


def _ending(code: int) -> str:
    """Return how a process ended that said nothing."""
    if code >= 0:
        return f'exit status {code}'
    name = signal.Signals(-code).name
    return f'killed by {name}' + (', often for lack of memory' if name == 'SIGKILL' else '')
