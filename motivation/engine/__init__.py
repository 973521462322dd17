"""Assembles a run from a config and drives it."""

from motivation.engine.loops import DualTestLoop, DualValLoop
from motivation.engine.optim_wrapper_constructor import DualOptimWrapperConstructor
from motivation.engine.runner import DualModelRunner
from motivation.engine.train_loop import CheckLoop, DualTrainLoop
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
