"""Runs in processes of their own, as many at a time as wanted, each after the one it is made from."""

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
    """One arm with one seed.

    Attributes:
        arm: The arm.
        seed: The seed.
        folder: Its work_dir.
        status: Where it stands; ``'skipped'`` if the run it is made from failed.
        reason: Why it failed or was skipped.
        seconds: How long it ran in this process.
    """

    arm: Arm
    seed: int
    folder: Path
    status: Literal['waiting', 'running', 'finished', 'failed', 'skipped'] = 'waiting'
    reason: str = ''
    seconds: float = 0.0
    process: Run | None = field(default=None, repr=False)
    begun: float = 0.0

    @property
    def last_line(self) -> str:
        """What the run printed last."""
        try:
            lines = (self.folder / OUTPUT).read_text(errors='replace').splitlines()
        except OSError:
            return ''
        return next((line.strip() for line in reversed(lines) if line.strip()), '')


def is_finished(folder: Path) -> bool:
    """Whether a run has come to its end and written its report."""
    return (folder / 'report.json').is_file()


def run_jobs(
    jobs: Sequence[Job],
    limit: int,
    executor: Executor,
    prepare: Callable[[Job], Path],
    changed: Callable[[Job], None],
    waiting: Callable[[], None],
) -> None:
    """Run all jobs; a failed one does not stop the others.

    Args:
        jobs: What is to be run; those with status ``'finished'`` are kept as they are.
        limit: Processes at a time.
        executor: Begins what trains a config: its arguments are the path of the config, ``--work-dir``
            and, for a run that was broken off, ``--resume``.
        prepare: Writes the config of a job whose reference is finished and returns its path; it raises a
            ConfigError where the job cannot be run, or its folder holds another run.
        changed: Called after a job has changed its status.
        waiting: Called again and again while jobs run.
    """
    try:
        while any(job.status in ('waiting', 'running') for job in jobs):
            for job in jobs:
                if job.status == 'running':
                    _look_after(job, changed)
                elif job.status == 'waiting' and sum(other.status == 'running' for other in jobs) < limit:
                    _begin(job, jobs, executor, prepare, changed)
            waiting()
            time.sleep(0.1)
    finally:
        for job in jobs:
            if job.process is not None and job.process.poll() is None:
                job.process.terminate()
                job.process.wait()


def find_reference(job: Job, jobs: Sequence[Job]) -> Job | None:
    """The job, of the same seed, that a job is made from."""
    return next((other for other in jobs if other.arm.label == job.arm.reference and other.seed == job.seed), None)


def _begin(
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
        job.status, job.reason = 'skipped', f'it is made from {reference.arm.label!r}, which has not finished'
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


def _look_after(job: Job, changed: Callable[[Job], None]) -> None:
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
            f'{job.last_line or f"exit status {code}"} (all of it: {job.folder / OUTPUT})',
        )
    changed(job)
