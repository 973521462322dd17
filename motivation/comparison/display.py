"""Progress of a running comparison in the terminal."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from motivation.comparison.jobs import Job
from motivation.errors import counted
from motivation.hooks.progress_hook import format_duration


class Display:
    """A progress display: a line for each run that starts or ends, and live lines of the running ones.

    Live lines are shown on a terminal only.

    Args:
        console: Console to print to.
        jobs: All jobs of the comparison.
        folder: Folder of the comparison.
    """

    def __init__(self, console: Console, jobs: Sequence[Job], folder: Path) -> None:
        self.console = console
        self.jobs = jobs
        self.folder = folder
        self._over = self._timed = 0  # runs that have ended, and those of them that this process ran to the end
        self._begun = self._last = time.monotonic()
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> 'Display':
        self._over = kept = sum(job.status == 'finished' for job in self.jobs)
        arms, seeds = ({*values} for values in zip(*((job.arm.label, job.seed) for job in self.jobs), strict=True))
        self.console.print(
            f'comparison of {counted(len(self.jobs), "run")} ({counted(len(arms), "arm")}, {counted(len(seeds), "seed")}) '
            f'in {self.folder}' + (f', {kept} of them already finished' if kept else ''),
            markup=False,
        )
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def changed(self, job: Job) -> None:
        """Print the new status of a job."""
        self._over += job.status != 'running'
        self._timed += job.status == 'finished' and bool(job.seconds)
        place = f'[{self._over:>{len(str(len(self.jobs)))}}/{len(self.jobs)}]'
        if job.status == 'running':
            what = 'started'
        elif job.status == 'finished':
            what = f'finished in {format_duration(job.seconds)}: {_results(job)}'
        else:
            what = f'{job.status}: {job.reason}'
        self.console.print(f'{place} {job.arm.label}, seed {job.seed}: {what}{self._time_left(job)}', markup=False)

    def update(self) -> None:
        """Refresh the live lines of the running jobs, at most once a second."""
        if self._live is None or time.monotonic() - self._last < 1:
            return
        self._last = time.monotonic()
        lines = [f'  {job.arm.label}, seed {job.seed}: {job.last_line}' for job in self.jobs if job.status == 'running']
        self._live.update(Text('\n'.join(lines), overflow='ellipsis', no_wrap=True), refresh=True)

    def _time_left(self, job: Job) -> str:
        """Return a rough estimate of the time left, from the mean time of the runs finished so far."""
        left = len(self.jobs) - self._over
        if job.status != 'finished' or not self._timed or not left:
            return ''
        elapsed = time.monotonic() - self._begun
        return f'; about {format_duration(elapsed / self._timed * left)} left'


def _results(job: Job) -> str:
    """Return the first metric of each model that a run trained, as text."""
    report = json.loads((job.folder / 'report.json').read_text())
    firsts = {name: next(iter(report[name]['metrics'].values()), None) for name in job.arm.trains}
    return ', '.join(f'{name} {value:.2f}' for name, value in firsts.items() if value is not None)
