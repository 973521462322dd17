"""A comparison, from the config of its arms to the files with its results."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.console import Console

from motivation.comparison.arms import Arm, configure, plan_arms
from motivation.comparison.claims import find_differences, judge_claims
from motivation.comparison.display import Display
from motivation.comparison.executors import choose_executor
from motivation.comparison.forecast import Forecast, make_forecast
from motivation.comparison.jobs import Job, find_reference, is_finished, run_jobs
from motivation.comparison.page import require_plotly, write_page
from motivation.comparison.render import build_table, write_comparison
from motivation.comparison.results import gather, read_teacher_report
from motivation.comparison.timing import time_runs
from motivation.comparison.tracking import RunTracker
from motivation.config.build import build, build_dataset
from motivation.config.checks import check_config
from motivation.config.comparison_plan import ComparisonPlan
from motivation.config.foreseen_metrics import check_compared_metric
from motivation.config.places import config_file
from motivation.config.read import load_config
from motivation.config.same_run import config_differences, describe_run_config
from motivation.errors import ArgumentError, ConfigError, TrainingError
from motivation.models.distilled_classifier import DistilledClassifier
from motivation.registry import MODELS, POLICIES
from motivation.utils.checkpoint import find_checkpoints

# Seconds of an hour, from which on a comparison is forecast unasked; one of fewer batches would need more than a second
# for each, and is not timed.
_LONG = 3600


class Comparison:
    """An experiment in one folder: every arm with every seed, each run in its own process.

    Args:
        config: Path of the config that the arms share. Its field ``comparison`` says what the arguments do not, see
            :class:`~motivation.config.comparison_plan.ComparisonPlan`.
        work_dir: Folder of all runs; finished runs in it are kept.
        options: Values by dotted field name that override the config for every arm.
        html: Whether :meth:`write` writes ``compare.html`` too. Default: ``False``.
        trackers: Trackers that the runs are written to, ``'mlflow'`` and ``'wandb'``. Default: none.
        **given: ``arms``, ``seeds``, ``epochs`` and ``metric`` of the command line; ``None`` for those of the config.

    Raises:
        ConfigError: The config, an arm or an option is invalid, ``work_dir`` holds runs of another config, or the page
            or a tracker lacks what it needs.
    """

    def __init__(
        self,
        config: str,
        work_dir: Path,
        options: dict[str, Any] | None = None,
        html: bool = False,
        trackers: Sequence[str] = (),
        **given: Any,
    ) -> None:
        if work_dir.exists() and not work_dir.is_dir():
            raise ConfigError(f"--work-dir '{work_dir}' is a file; name a folder")
        self.path, self.file = config, config_file(config)
        self.config = load_config(config, options)
        check_config(self.config)
        self.options = options
        self.work_dir = work_dir
        self.console = Console(highlight=False, soft_wrap=True)
        self._given = {name: value for name, value in given.items() if value is not None}
        self.plan = ComparisonPlan(**{**(self.config.get('comparison') or {}), **self._given})
        with self._located():
            self._plan_jobs()
        if html:
            require_plotly()
        self._html = html
        self._trackers = [RunTracker(name, self.config, work_dir) for name in dict.fromkeys(trackers)]

    def _plan_jobs(self) -> None:
        seeds = self.plan.seeds
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ArgumentError('seeds', f'is {" ".join(map(str, seeds))}; give each seed once, and none below 0')
        if self.plan.metric is not None:
            check_compared_metric(self.config._cfg_dict.to_dict(), self.plan.metric)
        self.arms = plan_arms(self.plan.arms, self.config, self.options, self.file.parent)
        self.jobs = [Job(arm, seed, self.work_dir / arm.folder / f'seed{seed}') for seed in seeds for arm in self.arms]
        for arm in self.arms:
            self._check_arm(arm)
        for job in sorted(self.jobs, key=lambda job: job.arm.reference is not None):
            reference = find_reference(job, self.jobs)
            if reference is None or reference.status == 'finished':  # otherwise it is checked before it starts
                self._check_existing_run(job)
                if is_finished(job.folder):
                    job.status = 'finished'

    @contextmanager
    def _located(self) -> Iterator[None]:
        """Say of what is wrong with the plan whether the command line or the config has it."""
        try:
            yield
        except ArgumentError as error:
            if error.argument not in ('arms', 'seeds', 'epochs', 'metric'):
                raise
            is_planned = error.argument in (self.config.get('comparison') or {}) and error.argument not in self._given
            where = f'comparison.{error.argument}' if is_planned else f'--{error.argument}'
            raise ConfigError(f'{where} {error.problem}') from error

    def run(self, script: Path, limit: int = 1) -> None:
        """Run every job that has not finished.

        Args:
            script: Path of a file that does what ``motivation train`` does.
            limit: Number of runs at a time, at least 1.

        Raises:
            ConfigError: ``limit`` is below 1.
        """
        environment = self._environment(limit)
        if self._may_be_long():
            try:
                forecast = self.forecast(limit)
            except TrainingError as error:
                self.console.print(str(error), markup=False)
            else:
                if forecast.seconds > _LONG:
                    self.show(forecast)
        executor = choose_executor(script, environment)
        with Display(self.console, self.jobs, self.work_dir) as display, closing(executor):
            run_jobs(self.jobs, limit, executor, self._prepare, display.changed, display.update)

    def forecast(self, limit: int = 1) -> Forecast:
        """Time the models of the arms on this machine, and return what the runs that are left will take.

        Args:
            limit: Number of runs at a time, at least 1.

        Raises:
            ConfigError: ``limit`` is below 1.
            TrainingError: The models cannot be timed.
        """
        configs = {arm.label: self._configure(arm, self.plan.seeds[0], None) for arm in self.arms}
        left = list(dict.fromkeys(job.arm.label for job in self.jobs if job.status != 'finished'))
        timings = time_runs([configs[label] for label in left], self._environment(limit))
        return make_forecast(self.jobs, configs, dict(zip(left, timings, strict=True)), limit)

    def show(self, forecast: Forecast) -> None:
        """Print a forecast."""
        self.console.print(forecast.table)
        for sentence in forecast.sentences:
            self.console.print(sentence, markup=False)

    def _may_be_long(self) -> bool:
        """Return whether the runs that are left have enough batches to be worth timing first."""
        batches, lengths = 0.0, dict[str, float]()
        try:
            for arm in self.arms:
                left = sum(job.arm is arm and job.status != 'finished' for job in self.jobs)
                config = self._configure(arm, self.plan.seeds[0], None)
                loader = config.train_dataloader.to_dict()
                key = repr(loader)
                if left and key not in lengths:
                    length = len(build_dataset(loader, 'train_dataloader')) / loader.get('batch_size', 1)
                    lengths[key] = min(length, loader.get('num_batch_per_epoch') or length)
                batches += left * config.train_cfg.max_epochs * lengths.get(key, 0)
        except ConfigError:
            return False  # the runs will say what is wrong
        except TypeError:
            return True  # a dataset without a length
        return batches >= _LONG

    def _environment(self, limit: int) -> dict[str, str]:
        """Return the environment variables of the runs, in addition to those of this process."""
        if limit < 1:
            raise ConfigError(f'--jobs must be at least 1, got {limit}')
        configs = [self.file, *(config_file(arm.source) for arm in self.arms if arm.source.endswith('.py'))]
        folders = [*(str(path.parent.resolve()) for path in configs), str(Path.cwd())]
        environment = {'PYTHONPATH': os.pathsep.join(filter(None, [*folders, os.environ.get('PYTHONPATH')]))}
        if limit > 1 and 'OMP_NUM_THREADS' not in os.environ:
            environment['OMP_NUM_THREADS'] = str(max((os.cpu_count() or 1) // limit, 1))
        return environment

    def write(self) -> bool:
        """Write the results to files and trackers, and print them.

        Returns:
            Whether every run has finished and every tracker has them.

        Raises:
            ConfigError: No run has finished, or none reports the metric.
        """
        about = {
            'config': self.path,
            'epochs': self.plan.epochs or self.config.train_cfg.max_epochs,
            'seeds': list(self.plan.seeds),
        }
        with self._located():
            comparison = gather(self.jobs, self.plan.metric, about)
        comparison['differences'] = find_differences(comparison['arms'])
        comparison['claims'] = judge_claims(comparison)
        written = write_comparison(comparison, self.work_dir)
        if self._html:
            written.append(write_page(comparison, self.work_dir))
        self.console.print(build_table(comparison))
        for verdict in ('supported', 'contradicted'):
            for claim in comparison['claims']:
                if claim['verdict'] == verdict:
                    self.console.print(f'{verdict}: {claim["claim"]}: {claim["evidence"]}', markup=False)
        undecided = sum(claim['verdict'] == 'not decided' for claim in comparison['claims'])
        self.console.print(f'not decided: {undecided} of {len(comparison["claims"])} claims; all are in compare.md')
        self.console.print('written: ' + ', '.join(path.name for path in written), f'in {self.work_dir}', markup=False)
        problems = list(filter(None, (tracker.write(comparison) for tracker in self._trackers)))
        for problem in problems:
            self.console.print(problem, markup=False)
        return not problems and all(job.status == 'finished' for job in self.jobs)

    def _check_arm(self, arm: Arm) -> None:
        """Check an arm before anything runs, as far as it does not depend on another run."""
        config = self._configure(arm, self.plan.seeds[0], None)
        check_config(config)
        if arm.source == 'distillation':
            model = config.model.base
            if arm.reference is None:
                read_teacher_report(model.teacher)
            build(MODELS, DistilledClassifier.without_teacher(model.to_dict()), 'model.base')
        elif arm.reference is None or arm.source == 'RandomGate':
            build(POLICIES, config.motivation.policy.to_dict(), 'motivation.policy')

    def _configure(self, arm: Arm, seed: int, reference: Path | None) -> Config:
        return configure(arm, self.config, seed, reference, self.plan.epochs, self.options)

    def _config_path(self, job: Job) -> Path:
        return self.work_dir / 'configs' / f'{job.arm.folder}_seed{job.seed}.py'

    def _check_existing_run(self, job: Job) -> None:
        """Check that a run in the folder of a job belongs to this comparison and has the same config."""
        if not is_finished(job.folder) and not find_checkpoints(job.folder):
            return
        path, reference = self._config_path(job), find_reference(job, self.jobs)
        if not path.is_file():
            raise ConfigError(
                f"--work-dir '{self.work_dir}' holds a run in '{job.folder}' that no comparison made; name another"
            )
        existing = Config.fromfile(str(path), import_custom_modules=False)
        wanted = self._configure(job.arm, job.seed, reference.folder if reference else None)
        difference = next(
            config_differences(*(describe_run_config(config, evaluation=True) for config in (existing, wanted))), None
        )
        if difference is not None:
            field, before, now = difference
            raise ConfigError(
                f"--work-dir '{self.work_dir}' holds {job.arm.label!r} with {field} {before!r}, which is {now!r} now; "
                'name another --work-dir, or give the same config'
            )

    def _prepare(self, job: Job) -> Path:
        """Write the config of a job and return its path."""
        reference = find_reference(job, self.jobs)
        self._check_existing_run(job)
        config = self._configure(job.arm, job.seed, reference.folder if reference else None)
        check_config(config)
        path = self._config_path(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        config.dump(str(path))
        return path
