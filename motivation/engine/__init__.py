"""Assembles a run from a config and drives it."""

from motivation.engine.dry_run import CheckLoop
from motivation.engine.evaluation_loop import DualTestLoop, DualValLoop
from motivation.engine.optim_wrapper import DualOptimWrapperConstructor
from motivation.engine.runner import DualModelRunner
from motivation.engine.train_loop import DualTrainLoop
from motivation.engine.visualizer import Visualizer

__all__ = [
    'CheckLoop',
    'DualModelRunner',
    'DualOptimWrapperConstructor',
    'DualTestLoop',
    'DualTrainLoop',
    'DualValLoop',
    'Visualizer',
]
