"""Executors: where the runs of a comparison are executed."""

from motivation.executors.ray_executor import RayExecutor

__all__ = ['RayExecutor']
