"""The runner, its training and evaluation loops, and its optimizer wrappers."""

from motivation.engine.dry_run import CheckLoop
from motivation.engine.evaluation_loop import DualTestLoop, DualValLoop
from motivation.engine.mlflow_backend import MLflowVisBackend
from motivation.engine.optim_wrapper import DualOptimWrapperConstructor
from motivation.engine.runner import DualModelRunner
from motivation.engine.schedules import WarmupStableDecayLR
from motivation.engine.timm_optimizer import timm_optimizer
from motivation.engine.train_loop import DualTrainLoop
from motivation.engine.visualizer import Visualizer
from motivation.engine.wandb_backend import WandbVisBackend

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
