"""A comparison, from the config of its arms to the files with its results."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from operator import methodcaller
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.console import Console

from motivation.comparison.arm_config import configure
from motivation.comparison.arms import Arm, plan_arms
from motivation.comparison.display import Display
from motivation.comparison.forecast import Forecast, make_forecast
from motivation.comparison.jobs import Job, is_finished, run_jobs
from motivation.comparison.judgement import Judgement
from motivation.comparison.output.outputs import Outputs
from motivation.comparison.output.render import describe_test
from motivation.comparison.output.terminal import build_table
from motivation.comparison.run_results import read_teacher_report
from motivation.comparison.sweep import expand_sweep, refused_as_sweep
from motivation.comparison.timing import time_runs
from motivation.config.build import build, build_dataset
from motivation.config.checks import check_config
from motivation.config.comparison_plan import ComparisonPlan
from motivation.config.foreseen_metrics import check_compared_metric
from motivation.config.places import config_file
from motivation.config.read import load_config
from motivation.config.same_run import config_differences, describe_run_config
from motivation.config.seeds import read_seeds
from motivation.errors import ArgumentError, ConfigError, TrainingError, shortened
from motivation.executors.choose import make_executor
from motivation.executors.local import LocalExecutor
from motivation.models.distilled_classifier import DistilledClassifier
from motivation.registry import MODELS, POLICIES
from motivation.utils.checkpoint import find_checkpoints
from motivation.utils.files import write_whole
from motivation.utils.lock import lock_folder

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
        html: Whether :meth:`write` also writes ``compare.html``. Default: ``False``.
        trackers: Trackers that it also writes the runs to, ``'mlflow'`` and ``'wandb'``. Default: none.
        **given: ``arms``, ``sweep``, ``seeds``, ``epochs``, ``metric``, ``executor`` and ``until`` of the command line;
            ``None`` for those of the config.

    Raises:
        ConfigError: The config, an arm or an option is invalid, ``work_dir`` holds runs of another config, or the page
            or a tracker lacks what it needs.
    """

    def __init__(
        self, config: str, work_dir: Path, options: dict[str, Any] | None = None,
        html: bool = False, trackers: Sequence[str] = (), **given: Any,
    ) -> None:  # fmt: skip
        if work_dir.exists() and not work_dir.is_dir():
            raise ConfigError(f"--work-dir '{work_dir}' is a file; name a folder")
        self.path, self.file = config, config_file(config)
        self.config = load_config(config, options)
        check_config(self.config)
        self.options = options
        self.work_dir = work_dir
        self.console = Console(highlight=False, soft_wrap=True)
        self._given = {name: value for name, value in given.items() if value is not None}
        said = {**(self.config.get('comparison') or {}), **self._given}
        self.plan = ComparisonPlan(**({'arms': ('never', 'always')} if said.get('sweep') else {}) | said)
        with self._located():
            self._plan_jobs()
        self._outputs = Outputs(self.config, work_dir, html, trackers)

    def _plan_jobs(self) -> None:
        try:
            self.seeds = read_seeds(self.plan.seeds)
        except ValueError as error:
            raise ArgumentError('seeds', f'must be {error}, got {shortened(self.plan.seeds)}') from error
        if self.plan.metric is not None:
            check_compared_metric(self.config._cfg_dict.to_dict(), self.plan.metric)
        swept = dict.fromkeys(expand_sweep(self.plan.sweep or {}, self.plan.arms, self.config))
        self.arms = plan_arms([*self.plan.arms, *swept], self.config, self.options, self.file.parent)
        self.jobs = [
            Job(arm, seed, self.work_dir / arm.folder / f'seed{seed}') for seed in self.seeds for arm in self.arms
        ]
        self.judgement = Judgement(self.plan, self.arms, self.jobs, self.seeds)
        self._by_label = {(job.arm.label, job.seed): job for job in self.jobs}
        self.executor = make_executor(self.plan.executor)
        for arm in self.arms:
            with refused_as_sweep(arm.label) if arm.label in swept else nullcontext():
                self._check_arm(arm)
        for job in sorted(self.jobs, key=lambda job: job.arm.reference is not None):
            reference = self._reference(job)
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
            field = error.argument.partition('.')[0]
            if field not in ('arms', 'sweep', 'seeds', 'epochs', 'metric', 'executor', 'claims', 'until'):
                raise
            is_planned = field in (self.config.get('comparison') or {}) and field not in self._given
            where = f'comparison.{error.argument}' if is_planned else f'--{error.argument}'
            raise ConfigError(f'{where} {error.problem}') from error

    def run(self, script: Path, limit: int | None = None) -> None:
        """Run every job that has not finished; no other process can do so in the same folder meanwhile.

        Args:
            script: Path of a file that does what ``motivation train`` does.
            limit: Number of runs at a time, at least 1; ``None`` (default) for that of the executor.

        Raises:
            ConfigError: ``limit`` is below 1, another process is running the comparison, or the executor cannot work.
        """
        self._limit(limit)
        environment = self._environment()
        is_local = isinstance(self.executor, LocalExecutor)
        if is_local and self._may_be_long():  # another machine would not be timed here
            try:
                forecast = self.forecast(limit)
            except TrainingError as error:
                self.console.print(str(error), markup=False)
            else:
                if forecast.seconds > _LONG:
                    self.show(forecast)
        self.work_dir.mkdir(parents=True, exist_ok=True)
        lock_folder(self.work_dir)
        with closing(self.executor):
            self.executor.open(script, environment, self.work_dir)
            with Display(self.console, self.jobs, self.work_dir, queues=not is_local) as display, self._located():
                decided = self.judgement.is_decided
                run_jobs(self.jobs, self.executor, self._prepare, display.changed, display.update, decided)

    def forecast(self, limit: int | None = None) -> Forecast:
        """Time the models of the arms on this machine, and return what the runs that are left will take.

        Args:
            limit: Number of runs at a time, at least 1; ``None`` (default) for that of the executor.

        Raises:
            ConfigError: ``limit`` is below 1.
            TrainingError: The models cannot be timed.
        """
        self._limit(limit)
        configs = {arm.label: self._configure(arm, self.seeds[0], None) for arm in self.arms}
        left = list(dict.fromkeys(job.arm.label for job in self.jobs if job.status != 'finished'))
        timings = time_runs([configs[label] for label in left], self._environment())
        timed = dict(zip(left, timings, strict=True))
        return make_forecast(self.jobs, configs, timed, self.executor.slots or len(self.jobs))

    def _limit(self, limit: int | None) -> None:
        """Have the executor take so many runs at a time; ``None`` for as many as it does anyway."""
        if limit is not None and limit < 1:
            raise ConfigError(f'--jobs must be at least 1, got {limit}')
        if limit is not None:
            self.executor.slots = limit

    def show(self, forecast: Forecast) -> None:
        """Print a forecast."""
        self.console.print(forecast.table)
        for sentence in forecast.sentences:
            self.console.print(sentence, markup=False)
        if self.judgement.is_decided is not None:
            self.console.print('the comparison ends before that if fewer seeds decide its claims')
        if not isinstance(self.executor, LocalExecutor):
            self.console.print(
                f'--executor {self.plan.executor} executes the runs elsewhere: the times are those of this machine',
                markup=False,
            )

    def _may_be_long(self) -> bool:
        """Return whether the runs that are left have enough batches to be worth timing first."""
        batches, lengths = 0.0, dict[str, float]()
        runs = Counter(job.arm.label for job in self.jobs if job.status != 'finished')
        try:
            for arm in self.arms:
                left = runs[arm.label]
                config = self._configure(arm, self.seeds[0], None)
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

    def _environment(self) -> dict[str, str]:
        """Return the environment variables of the runs, in addition to those of this process."""
        configs = [self.file, *(config_file(arm.source) for arm in self.arms if arm.source.endswith('.py'))]
        folders = [*dict.fromkeys(str(path.parent.resolve()) for path in configs), str(Path.cwd())]
        path = os.pathsep.join(filter(None, [*folders, os.environ.get('PYTHONPATH')]))
        return {'PYTHONPATH': path, **self.executor.environment()}

    def write(self) -> bool:
        """Write the results to files and trackers, and print them.

        Returns:
            Whether every run that is needed has finished and every tracker has them.

        Raises:
            ConfigError: No run has finished, or none reports the metric.
        """
        epochs = self.plan.epochs or self.config.train_cfg.max_epochs
        with self._located():
            comparison = self.judgement.results(config=self.path, epochs=epochs)
        written = self._outputs.write_files(comparison)
        self.console.print(build_table(comparison))
        self.console.print(describe_test(comparison['test']), markup=False)
        for verdict in ('supported', 'contradicted'):
            for claim in comparison['claims']:
                if claim['verdict'] == verdict:
                    self.console.print(f'{verdict}: {claim["claim"]}: {claim["evidence"]}', markup=False)
        undecided = sum(claim['verdict'] == 'not decided' for claim in comparison['claims'])
        self.console.print(f'not decided: {undecided} of {len(comparison["claims"])} claims; all are in compare.md')
        self.console.print('written: ' + ', '.join(path.name for path in written), f'in {self.work_dir}', markup=False)
        problems = self._outputs.write_runs(comparison)
        for problem in problems:
            self.console.print(problem, markup=False)
        return not problems and all(job.status == 'finished' for job in self.judgement.counted_jobs())

    def _check_arm(self, arm: Arm) -> None:
        """Check an arm before anything runs, as far as it does not depend on another run."""
        config = self._configure(arm, max(self.seeds), None)  # the largest, which may be too large
        check_config(config)
        self.judgement.check_counted(arm, config)
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

    def _reference(self, job: Job) -> Job | None:
        return self._by_label.get((job.arm.reference or '', job.seed))

    def _configure_run(self, job: Job) -> Config:
        reference = self._reference(job)
        return self._configure(job.arm, job.seed, reference.folder if reference else None)

    def _check_existing_run(self, job: Job) -> None:
        """Check that a run in the folder of a job belongs to this comparison and has the same config."""
        if not is_finished(job.folder) and not find_checkpoints(job.folder):
            return
        path = self._config_path(job)
        if not path.is_file():
            raise ConfigError(
                f"--work-dir '{self.work_dir}' holds a run in '{job.folder}' that no comparison made; name another"
            )
        wanted = self._configure_run(job)
        if path.read_text() == wanted.pretty_text:  # reading a config takes ten times as long
            return
        existing = Config.fromfile(str(path), import_custom_modules=False)
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
        """Write the config of a job, whose arm has been checked, and return its path."""
        self._check_existing_run(job)
        config, path = self._configure_run(job), self._config_path(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, methodcaller('write', config.pretty_text.encode()))
        return path
