"""Hooks that connect the method and the instruments to the training loop; the algorithms are plain classes elsewhere."""

from motivation.hooks.bad_data_hook import BadDataHook
from motivation.hooks.compute_meter_hook import ComputeMeterHook
from motivation.hooks.dual_checkpoint_hook import DualCheckpointHook
from motivation.hooks.early_stopping_hook import EarlyStoppingHook
from motivation.hooks.energy_hook import EnergyHook
from motivation.hooks.export_hook import ExportHook
from motivation.hooks.freeze_hook import FreezeHook
from motivation.hooks.iteration_seed_hook import IterationSeedHook
from motivation.hooks.motivation_hook import MotivationHook
from motivation.hooks.predictions_hook import PredictionsHook
from motivation.hooks.progress_hook import ProgressHook
from motivation.hooks.report_hook import ReportHook

__all__ = [
    'BadDataHook',
    'ComputeMeterHook',
    'DualCheckpointHook',
    'EarlyStoppingHook',
    'EnergyHook',
    'ExportHook',
    'FreezeHook',
    'IterationSeedHook',
    'MotivationHook',
    'PredictionsHook',
    'ProgressHook',
    'ReportHook',
]
