"""The executor of a Slurm cluster, through submitit."""

import importlib.util
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from operator import methodcaller
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt

from motivation.errors import ArgumentError, ConfigError, near_matches
from motivation.executors import slurm_job
from motivation.executors.executor import Executor, Run, RunRequest
from motivation.executors.slurm_run import SlurmRun
from motivation.registry import EXECUTORS
from motivation.utils.arguments import Count, Written, checked
from motivation.utils.files import read_object, write_whole

# Seconds between two looks at what has ended.
_SECONDS = 1.0

# Programs of Slurm that submitting, following and cancelling need.
_PROGRAMS = ('sbatch', 'srun', 'sacct', 'scancel', 'scontrol')

# File that says which job executes which run: an object of JSON, the number of the job by the folder of the run.
_JOBS = 'jobs.json'


@EXECUTORS.register_module(name='slurm')
class SlurmExecutor(Executor):
    """Jobs of a Slurm cluster, all that are ready together as a job array.

    Before its time limit a job saves, is requeued, and goes on. The jobs outlive the comparing process: called again, it
    follows those that it finds queued or running. Logs of the jobs are in ``<work-dir>/slurm``.

    Args:
        cluster: ``'slurm'`` (default), or ``'local'`` for the same with processes of this machine, to try it.
        hours: Time limit of a job. A longer run is requeued. Default: 24.
        partition: Partition; ``None`` (default) for that of the cluster.
        account: Account; ``None`` (default) for that of the user.
        cpus: Processors of a run, which are also its threads unless ``OMP_NUM_THREADS`` is set. Default: 1.
        gpus: GPUs of a run. Default: 0.
        memory: Main memory of a run in GB; ``None`` (default) for what the cluster gives.
        array_size: Runs of a job array at most; clusters limit it (``MaxArraySize``). Default: 1000.
        array_parallelism: Runs of a job array at a time; ``None`` (default) for all.
        warning: Seconds before the time limit at which a run saves and ends. Default: 120.
        requeues: How often a run may reach the time limit. Default: 1000.
        retries: How often a run goes on after Slurm has killed its job (memory, a failed node). Default: 2.
        parameters: Further parameters of submitit's ``SlurmExecutor``, such as ``{'qos': 'high'}``. Default: none.

    Example:
        >>> executor = 'slurm:partition=gpu,gpus=1,cpus=4,hours=12'
    """

    @checked
    def __init__(
        self,
        cluster: Literal['slurm', 'local'] = 'slurm',
        hours: Annotated[float, Gt(0)] = 24.0,
        partition: str | None = None,
        account: str | None = None,
        cpus: Count = 1,
        gpus: Annotated[int, Ge(0)] = 0,
        memory: Annotated[float, Gt(0)] | None = None,
        array_size: Count = 1000,
        array_parallelism: Count | None = None,
        warning: Count = 120,
        requeues: Annotated[int, Ge(0)] = 1000,
        retries: Annotated[int, Ge(0)] = 2,
        parameters: Annotated[Mapping[str, Any], Written("{'qos': 'high'}")] | None = None,
    ) -> None:
        if 3600 * hours <= warning:
            raise ArgumentError('warning', f'is {warning} s, which must be less than the time limit, hours={hours:g}')
        of_slurm: dict[str, Any] = dict(
            partition=partition,
            account=account,
            memory=memory,
            array_parallelism=array_parallelism,
            parameters=parameters,
        )
        for name, value in of_slurm.items():
            if cluster == 'local' and value is not None:
                raise ArgumentError(name, 'changes nothing with cluster=local; leave it out')
        self.cluster, self.hours, self.cpus, self.gpus, self.warning = cluster, hours, cpus, gpus, warning
        self.array_size, self.requeues, self.retries = array_size, requeues, retries
        self.of_slurm, self.parameters = of_slurm, dict(parameters or {})
        self._again: list[SlurmRun] = []
        self._cancelled: list[SlurmRun] = []
        self._stops = False
        self._jobs: dict[str, str] = {}  # number of the job by folder, of this comparison and former ones
        self._alive: set[str] = set()  # of the former ones, those that are queued or running
        self._looked = float('-inf')
        self.results: set[str] = set()

    def environment(self) -> dict[str, str]:
        """Give a run as many threads as processors, unless ``OMP_NUM_THREADS`` is set."""
        return {} if 'OMP_NUM_THREADS' in os.environ else {'OMP_NUM_THREADS': str(self.cpus)}

    def open(self, script: Path, environment: Mapping[str, str], folder: Path) -> None:
        """Check that jobs can be submitted, see :class:`~motivation.executors.executor.Executor`.

        Raises:
            ConfigError: submitit or Slurm is missing, or submitit does not know a parameter.
        """
        if importlib.util.find_spec('submitit') is None:
            raise ConfigError(
                "--executor slurm needs submitit, which is not installed: pip install 'motivation[slurm]'"
            )
        missing = [name for name in _PROGRAMS if shutil.which(name) is None] if self.cluster == 'slurm' else []
        if missing:
            raise ConfigError(
                f'--executor slurm needs {", ".join(missing)}, which is not on this machine; call it on a login node of the '
                'cluster, or try it here with slurm:cluster=local'
            )
        # Imported here, because the package is optional.
        import cloudpickle
        import submitit

        self.script, self.folder = script.resolve(), folder.resolve() / 'slurm'
        self.folder.mkdir(exist_ok=True)
        python = shlex.join(['env', *(f'{name}={value}' for name, value in environment.items()), sys.executable])
        kind = submitit.SlurmExecutor if self.cluster == 'slurm' else submitit.LocalExecutor
        self._submitit = kind(self.folder, max_num_timeout=self.requeues, python=python)
        self._submitit.update_parameters(**self._parameters(folder))
        cloudpickle.register_pickle_by_value(slurm_job)
        if self.cluster == 'slurm':  # processes of this machine hold the lock of their folder, which is enough
            self._find_former()

    def _find_former(self) -> None:
        """Ask Slurm which jobs of former comparisons still wait or run, all in one question."""
        # Imported here, because the package is optional.
        from submitit.slurm.slurm import SlurmInfoWatcher

        with suppress(FileNotFoundError):
            self._jobs = read_object(
                self.folder / _JOBS, 'remove it, once no job of the comparison is queued or running'
            )
        watcher = SlurmInfoWatcher()
        for job_id in self._jobs.values():
            watcher.register_job(job_id)
        if self._jobs:
            watcher.update()
        states = {job_id: watcher.get_state(job_id, mode='cache') for job_id in self._jobs.values()}
        self._alive = {
            job_id
            for job_id, state in states.items()
            if state != 'UNKNOWN' and not watcher.is_done(job_id, mode='cache')
        }

    def _parameters(self, folder: Path) -> dict[str, Any]:
        """Return the parameters by which submitit knows the fields."""
        if self.cluster == 'local':
            return dict(timeout_min=60 * self.hours, signal_delay_s=self.warning, gpus_per_node=self.gpus)
        memory = self.of_slurm['memory']
        own = dict(
            job_name=f'compare_{folder.name}',
            time=math.ceil(60 * self.hours),
            signal_delay_s=self.warning,
            cpus_per_task=self.cpus,
            gpus_per_node=self.gpus or None,
            mem=None if memory is None else f'{math.ceil(1024 * memory)}MB',
            array_parallelism=self.of_slurm['array_parallelism'] or self.array_size,
            **{name: self.of_slurm[name] for name in ('partition', 'account')},
        )
        own = {name: value for name, value in own.items() if value is not None}
        known = type(self._submitit)._valid_parameters()
        for name in self.parameters:
            if name in own:
                raise ConfigError(f'--executor slurm: parameters has {name!r}, which a field of slurm sets; give that')
            if name not in known:
                raise ConfigError(f'--executor slurm: parameters has {name!r}; {near_matches(name, known)}')
        return {**own, **self.parameters}

    def submit(self, requests: Sequence[RunRequest]) -> list[Run]:
        """Submit runs as job arrays, see :class:`~motivation.executors.executor.Executor`."""
        runs = [SlurmRun(self, request) for request in requests]
        self._send(runs)
        return list(runs)

    def _send(self, runs: Sequence[SlurmRun]) -> None:
        # Imported here, because the package is optional.
        from submitit.core.utils import FailedJobError

        for start in range(0, len(runs), self.array_size):
            part = runs[start : start + self.array_size]
            try:
                with self._submitit.batch():
                    jobs = [self._submitit.submit(self._training(run.request)) for run in part]
            except FailedJobError as error:
                said = str(error).strip().rpartition('\n')[2]
                raise ConfigError(f'sbatch refuses the runs: {said}; change --executor or its fields') from error
            for run, job in zip(part, jobs, strict=True):
                run.begin(job)
                self._jobs[str(run.request.folder.resolve())] = job.job_id
            write_whole(self.folder / _JOBS, methodcaller('write', json.dumps(self._jobs).encode()))

    def _training(self, request: RunRequest) -> slurm_job.TrainingJob:
        folder = request.folder.resolve()
        command = [sys.executable, str(self.script), *request.arguments()]
        return slurm_job.TrainingJob(command, str(request.output.resolve()), str(folder / 'report.json'))

    def find(self, request: RunRequest) -> Run | None:
        """Return the queued or running job of a run, see :class:`~motivation.executors.executor.Executor`."""
        job_id = self._jobs.get(str(request.folder.resolve()))
        if job_id in self._alive:
            run = SlurmRun(self, request)
            run.begin(self._submitit.job_class(self.folder, job_id))
            return run
        return super().find(request)

    def look(self) -> None:
        """Note which jobs have left a result, cancel and submit again what is to be; at most once a second for all."""
        if time.monotonic() - self._looked < _SECONDS:
            return
        cancelled, self._cancelled = self._cancelled, []
        again, self._again = self._again, []
        if cancelled or again:
            self._cancel(
                [*cancelled, *again]
            )  # also what is submitted again, because Slurm may have requeued it by itself
        if again:
            self._send(again)
        if self._stops and self.cluster == 'slurm':
            self._submitit.job_class.watcher.update()  # which by itself asks only every few minutes
        with suppress(OSError):
            self.folder.chmod(self.folder.stat().st_mode)  # has a network file system forget what it remembers
        self.results = {path.name for path in self.folder.glob('*_result.pkl')}
        self._looked = time.monotonic()

    def cancel(self, run: SlurmRun) -> None:
        """Have the job of a run cancelled, together with others."""
        self._stops = True
        if run in self._again:
            self._again.remove(run)
        else:
            self._cancelled.append(run)
            self._looked = float('-inf')

    def submit_again(self, run: SlurmRun) -> None:
        """Have a run go on in another job, together with others."""
        self._again.append(run)

    def _cancel(self, runs: Sequence[SlurmRun]) -> None:
        if self.cluster == 'slurm':
            job_ids = [run.job.job_id for run in runs]
            subprocess.run(['scancel', *job_ids], check=False, stderr=subprocess.DEVNULL)  # also of jobs that are over
            return
        for run in runs:
            if not run.job.done():
                os.kill(int(run.job.job_id), signal.SIGTERM)
