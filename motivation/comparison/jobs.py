"""Scheduling of the runs of a comparison: a limited number at a time, each after the run it is derived from."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from motivation.comparison.arms import Arm
from motivation.comparison.executors import Executor, Run
from motivation.errors import ConfigError
from motivation.utils.checkpoint import find_checkpoints

OUTPUT = 'output.txt'


@dataclass
class Job:
    """One run of a comparison: an arm with a seed.

    Attributes:
        arm: The arm.
        seed: The seed.
        folder: The work_dir of the run.
        status: ``'waiting'``, ``'running'``, ``'finished'``, ``'failed'``, ``'skipped'`` if the run that it is derived
            from did not finish, or ``'not needed'`` if all was decided without it.
        reason: Why the run failed or was skipped.
        seconds: Duration in seconds, since the run was last started; 0 if this process did not start it.
    """

    arm: Arm
    seed: int
    folder: Path
    status: Literal['waiting', 'running', 'finished', 'failed', 'skipped', 'not needed'] = 'waiting'
    reason: str = ''
    seconds: float = 0.0
    process: Run | None = field(default=None, repr=False)
    begun: float = 0.0

    @property
    def last_line(self) -> str:
        """The last line that the run printed; ``''`` if there is none."""
        try:
            lines = (self.folder / OUTPUT).read_text(errors='replace').splitlines()
        except OSError:
            return ''
        return next((line.strip() for line in reversed(lines) if line.strip()), '')


def is_finished(folder: Path) -> bool:
    """Return whether a run has finished and written its report."""
    return (folder / 'report.json').is_file()


def run_jobs(
    jobs: Sequence[Job],
    limit: int,
    executor: Executor,
    prepare: Callable[[Job], Path],
    changed: Callable[[Job], None],
    waiting: Callable[[], None],
    is_decided: Callable[[], bool] | None = None,
) -> None:
    """Run all jobs; a failed job does not stop the others.

    Args:
        jobs: The jobs; those with status ``'finished'`` are not run.
        limit: Number of processes at a time.
        executor: Starts the training script with the path of the config, ``--work-dir`` and, for an
            interrupted run, ``--resume``.
        prepare: Writes the config of a job, after its reference has finished, and returns the path. Raises
            :class:`~motivation.errors.ConfigError` if the job cannot be run or its folder holds another run.
        changed: Called after the status of a job has changed.
        waiting: Called repeatedly while jobs run.
        is_decided: Returns whether no further run is needed; those that run are then stopped. Default: all are needed.
    """
    try:
        while any(job.status in ('waiting', 'running') for job in jobs):
            if is_decided is not None and is_decided():
                break
            for job in jobs:
                if job.status == 'running':
                    _check_running(job, changed)
                elif job.status == 'waiting' and sum(other.status == 'running' for other in jobs) < limit:
                    _start(job, jobs, executor, prepare, changed)
            waiting()
            time.sleep(0.1)
    finally:
        for job in jobs:
            if job.process is not None and job.process.poll() is None:
                job.process.terminate()
                job.process.wait()
    for job in jobs:
        if job.status in ('waiting', 'running'):
            job.status = 'not needed'


def find_reference(job: Job, jobs: Sequence[Job]) -> Job | None:
    """Return the job of the same seed that a job is derived from, or ``None`` if there is none."""
    return next((other for other in jobs if other.arm.label == job.arm.reference and other.seed == job.seed), None)


def _start(
    job: Job,
    jobs: Sequence[Job],
    executor: Executor,
    prepare: Callable[[Job], Path],
    changed: Callable[[Job], None],
) -> None:
    reference = find_reference(job, jobs)
    if reference is not None and reference.status in ('waiting', 'running'):
        return
    if reference is not None and reference.status != 'finished':
        job.status, job.reason = 'skipped', f'it is derived from {reference.arm.label!r}, which has not finished'
        changed(job)
        return
    try:
        config = prepare(job)
    except ConfigError as error:
        job.status, job.reason = 'failed', str(error)
        changed(job)
        return
    if is_finished(job.folder):
        job.status = 'finished'
        changed(job)
        return
    job.folder.mkdir(parents=True, exist_ok=True)
    resume = ['--resume'] if find_checkpoints(job.folder) else []
    job.process = executor.submit([str(config), '--work-dir', str(job.folder), *resume], job.folder / OUTPUT)
    job.status, job.begun = 'running', time.monotonic()
    changed(job)


def _check_running(job: Job, changed: Callable[[Job], None]) -> None:
    assert job.process is not None
    code = job.process.poll()
    if code is None:
        return
    job.seconds = time.monotonic() - job.begun
    if code == 0 and is_finished(job.folder):
        job.status = 'finished'
    else:
        job.status, job.reason = (
            'failed',
            f'{job.last_line or f"exit status {code}"} (full output: {job.folder / OUTPUT})',
        )
    changed(job)
