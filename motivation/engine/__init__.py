"""The runner, its training and evaluation loops, and its optimizer wrappers."""

from motivation.engine.dry_run import CheckLoop
from motivation.engine.evaluation_loop import DualTestLoop, DualValLoop
from motivation.engine.loggers.mlflow_backend import MLflowVisBackend
from motivation.engine.loggers.visualizer import Visualizer
from motivation.engine.loggers.wandb_backend import WandbVisBackend
from motivation.engine.optim.optim_wrapper import DualOptimWrapperConstructor
from motivation.engine.optim.schedules import WarmupStableDecayLR
from motivation.engine.optim.timm_optimizer import timm_optimizer
from motivation.engine.runner import DualModelRunner
from motivation.engine.train_loop import DualTrainLoop

__all__ = [
    'CheckLoop',
    'DualModelRunner',
    'DualOptimWrapperConstructor',
    'DualTestLoop',
    'DualTrainLoop',
    'DualValLoop',
    'MLflowVisBackend',
    'Visualizer',
    'WandbVisBackend',
    'WarmupStableDecayLR',
    'timm_optimizer',
]
