"""When a comparison has decided its claims, so that it needs no further seed."""

from collections.abc import Callable, Sequence
from typing import Any

from motivation.comparison.jobs import Job
from motivation.comparison.statistics import FEWEST
from motivation.errors import counted

# Statuses of a run that will not change any more.
_OVER = ('finished', 'failed', 'skipped')


class Stopping:
    """Look at the claims after each seed whose runs are over, in the order of the seeds, until all are decided.

    What counts is a function of what the runs came to, not of when they finished: a seed counts if all runs of the seeds
    before it were over without deciding all claims.

    Args:
        jobs: All jobs of the comparison.
        seeds: The seeds, in their order.
        gather: Returns ``'arms'`` and ``'metric'`` of jobs that are over, see
            :func:`~motivation.comparison.results.gather`.
        judge: Returns the items of :func:`~motivation.comparison.verdicts.judge` for them.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        seeds: Sequence[int],
        gather: Callable[[Sequence[Job]], dict[str, Any]],
        judge: Callable[[dict[str, Any]], list[dict[str, Any]]],
    ) -> None:
        self.seeds = seeds
        self._jobs: dict[int, list[Job]] = {seed: [] for seed in seeds}
        for job in jobs:
            self._jobs[job.seed].append(job)
        self._gather = gather
        self._judge = judge
        self._looked = 0
        self._decided = False

    def is_decided(self) -> bool:
        """Return whether the runs that are over decide every claim."""
        over = self._looked
        while not self._decided and over < len(self.seeds) and self._is_over(self.seeds[over]):
            over += 1
        jobs = [job for seed in self.seeds[:over] for job in self._jobs[seed]]
        if over > self._looked and over >= FEWEST and any(job.status == 'finished' for job in jobs):
            comparison = self._gather(jobs)
            for looked in range(max(self._looked + 1, FEWEST), over + 1):
                claims = self._judge(_only(comparison, self.seeds[:looked]))
                self._decided = all(claim['verdict'] != 'not decided' for claim in claims)
                if self._decided:
                    over = looked
                    break
        self._looked = over
        return self._decided

    def counted(self) -> Sequence[int]:
        """Return the seeds that the results are of: those whose runs are over, up to the look that decided all claims."""
        self.is_decided()
        return self.seeds[: self._looked]

    def describe(self, claims: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return after how many seeds the comparison stopped and why, as plain data, given its judged claims."""
        undecided = sum(claim['verdict'] == 'not decided' for claim in claims)
        all_claims = counted(len(claims), 'claim')
        why = f'no seed is left, and {undecided} of {all_claims} not decided' if undecided else f'{all_claims} decided'
        return {
            'seeds_planned': len(self.seeds),
            'stopped': f'after {len(self.counted())} of {counted(len(self.seeds), "seed")}: {why}',
        }

    def _is_over(self, seed: int) -> bool:
        return all(job.status in _OVER for job in self._jobs[seed])


def _only(comparison: dict[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """Return a comparison with the runs of some of its seeds."""
    arms = [{**arm, 'runs': [run for run in arm['runs'] if run['seed'] in seeds]} for arm in comparison['arms']]
    return {**comparison, 'arms': arms}
