"""Assembles a run from a config and drives it."""

from motivation.engine.loops import DualTestLoop, DualValLoop
from motivation.engine.optim_wrapper_constructor import DualOptimWrapperConstructor
from motivation.engine.runner import DualModelRunner

__all__ = ['DualModelRunner', 'DualOptimWrapperConstructor', 'DualTestLoop', 'DualValLoop']
