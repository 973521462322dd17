"""Executors: where the runs of a comparison are executed."""

from motivation.executors.executor import Executor, Outcome, Run, RunRequest
from motivation.executors.local import LocalExecutor
from motivation.executors.ray_executor import RayExecutor
from motivation.executors.slurm import SlurmExecutor

__all__ = ['Executor', 'LocalExecutor', 'Outcome', 'RayExecutor', 'Run', 'RunRequest', 'SlurmExecutor']
