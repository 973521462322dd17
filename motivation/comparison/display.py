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
        queues: Whether the executor queues runs, so that a submitted one may not have started. Default: ``False``.
    """

    def __init__(self, console: Console, jobs: Sequence[Job], folder: Path, queues: bool = False) -> None:
        self.console = console
        self.jobs = jobs
        self.folder = folder
        self._verb = 'submitted' if queues else 'started'
        self._begun = self._last = time.monotonic()
        self._running: dict[int, Job] = {}
        self._over = sum(job.is_over for job in jobs)
        self._done = 0  # finished here
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> 'Display':
        kept = sum(job.status == 'finished' for job in self.jobs)
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
        if job.status == 'running':
            self._running[id(job)] = job
        else:
            self._running.pop(id(job), None)
            self._over += job.is_over
            self._done += job.status == 'finished' and job.seconds > 0
        place = f'[{self._over:>{len(str(len(self.jobs)))}}/{len(self.jobs)}]'
        if job.status == 'running':
            what = f'goes on, see {job.folder}' if job.followed else self._verb
        elif job.status == 'finished':
            took = f' in {format_duration(job.seconds)}' if job.seconds else ''
            what = f'finished{took}: {_results(job)}'
        elif job.reason:
            what = f'{job.status}: {job.reason}'
        else:
            return
        self.console.print(f'{place} {job.arm.label}, seed {job.seed}: {what}{self._time_left(job)}', markup=False)

    def update(self) -> None:
        """Refresh the live lines of the running jobs, at most once a second, and no more than fit on the screen."""
        if self._live is None or time.monotonic() - self._last < 1:
            return
        self._last = time.monotonic()
        shown = list(self._running.values())[: max(self.console.height // 2, 1)]
        lines = [f'  {job.arm.label}, seed {job.seed}: {job.last_line}' for job in shown]
        if len(shown) < len(self._running):
            lines.append(f'  and {len(self._running) - len(shown):,} more')
        self._live.update(Text('\n'.join(lines), overflow='ellipsis', no_wrap=True), refresh=True)

    def _time_left(self, job: Job) -> str:
        """Return a rough estimate of the time left, from the mean time of the runs finished so far."""
        left = len(self.jobs) - self._over
        if job.status != 'finished' or not self._done or not left:
            return ''
        elapsed = time.monotonic() - self._begun
        return f'; about {format_duration(elapsed / self._done * left)} left'


def _results(job: Job) -> str:
    """Return the first metric of each model that a run trained, as text."""
    report = json.loads((job.folder / 'report.json').read_text())
    firsts = {name: next(iter(report[name]['metrics'].values()), None) for name in job.arm.trains}
    return ', '.join(f'{name} {value:.2f}' for name, value in firsts.items() if value is not None)
