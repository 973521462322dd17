"""The results of a comparison with the verdicts on its claims: which claims, by which test, on which seeds."""

from collections.abc import Callable, Sequence
from typing import Any

from mmengine.config import Config

from motivation.comparison.arms import Arm
from motivation.comparison.claims import find_differences, judge_claims
from motivation.comparison.jobs import Job
from motivation.comparison.registered import check_claims, judge_registered
from motivation.comparison.results import gather
from motivation.comparison.sequential import SequentialTest
from motivation.comparison.statistics import FIXED, PairedTest
from motivation.comparison.stopping import Stopping
from motivation.config.claims import read_claims
from motivation.config.comparison_plan import ComparisonPlan
from motivation.errors import ArgumentError, counted


class Judgement:
    """The judgement of a comparison, as its plan asks for it.

    Args:
        plan: The plan.
        arms: Its arms.
        jobs: Every arm with every seed.
        seeds: The seeds, in their order.

    Attributes:
        is_decided: Returns whether the runs that are over decide all claims; ``None`` if all seeds are to be run.

    Raises:
        ArgumentError: The arms cannot decide a claim, or claims or seeds lack for ``until='decided'``.
    """

    def __init__(self, plan: ComparisonPlan, arms: Sequence[Arm], jobs: Sequence[Job], seeds: Sequence[int]) -> None:
        self.jobs = jobs
        self.seeds = seeds
        self._metric = plan.metric
        self._claims = read_claims(plan.claims or ())
        check_claims(self._claims, arms)
        self._test: PairedTest = FIXED
        self._stopping: Stopping | None = None
        self.is_decided: Callable[[], bool] | None = None
        if plan.until is not None:
            self._judge_each_seed()

    def _judge_each_seed(self) -> None:
        if not self._claims:
            raise ArgumentError(
                'until', 'decided needs comparison.claims in the config, which say what shall be decided'
            )
        test = SequentialTest()
        fewest = test.fewest_seeds(len(self._claims))
        if len(self.seeds) < fewest:
            problem = (
                f'decided needs at least {fewest} seeds to decide {counted(len(self._claims), "claim")}, '
                f'got {len(self.seeds)}; give more, such as --seeds 0:20'
            )
            raise ArgumentError('until', problem)
        self._test = test
        self._stopping = Stopping(self.jobs, self.seeds, self._gather, self._judge)
        self.is_decided = self._stopping.is_decided

    def check_counted(self, arm: Arm, config: Config) -> None:
        """Check that the FLOPs of an arm will be counted if a claim is about them.

        Args:
            arm: The arm.
            config: Config of one of its runs.

        Raises:
            ArgumentError: They will not.
        """
        hooks = [*(config.get('default_hooks') or {}).values(), *(config.get('custom_hooks') or [])]
        if any(isinstance(hook, dict) and hook.get('type') == 'ComputeMeterHook' for hook in hooks):
            return
        for place, claim in enumerate(self._claims):
            if claim.cheaper_than is not None and arm.label in (claim.arm, *claim.against):
                problem = f'needs the FLOPs of {arm.label!r}, which has no default_hooks.compute_meter; give it one'
                raise ArgumentError(f'claims.{place}', problem)

    def results(self, **about: Any) -> dict[str, Any]:
        """Gather the results of the seeds that count, with differences and judged claims.

        Args:
            **about: What the results say of the comparison besides.

        Returns:
            Data of :func:`~motivation.comparison.results.gather` with ``'differences'`` and ``'claims'``.

        Raises:
            ConfigError: No run has finished, or none reports the metric.
        """
        comparison = self._gather(self.counted_jobs(), **about, seeds=list(self._counted()))
        comparison['differences'] = find_differences(comparison['arms'], self._test)
        comparison['claims'] = self._judge(comparison)
        if self._stopping is not None:
            comparison['test'] |= self._stopping.describe(comparison['claims'])
        return comparison

    def counted_jobs(self) -> list[Job]:
        """Return the jobs whose results count."""
        seeds = set(self._counted())
        return [job for job in self.jobs if job.seed in seeds]

    def _counted(self) -> Sequence[int]:
        return self.seeds if self._stopping is None else self._stopping.counted()

    def _gather(self, jobs: Sequence[Job], **about: Any) -> dict[str, Any]:
        return gather(jobs, self._metric, about, self._test)

    def _judge(self, comparison: dict[str, Any]) -> list[dict[str, Any]]:
        if self._claims:
            return judge_registered(self._claims, comparison, self._test)
        return judge_claims(comparison, self._test)
