"""Hooks wire the parts to the training loop; what they decide or compute is a plain class elsewhere."""

from motivation.hooks.bad_data_hook import BadDataHook
from motivation.hooks.compute_meter_hook import ComputeMeterHook
from motivation.hooks.energy_hook import EnergyHook
from motivation.hooks.epoch_checkpoint_hook import EpochCheckpointHook
from motivation.hooks.epoch_seed_hook import EpochSeedHook
from motivation.hooks.export_hook import ExportHook
from motivation.hooks.motivation_hook import MotivationHook
from motivation.hooks.progress_hook import ProgressHook
from motivation.hooks.report_hook import ReportHook

__all__ = [
    'BadDataHook',
    'ComputeMeterHook',
    'EnergyHook',
    'EpochCheckpointHook',
    'EpochSeedHook',
    'ExportHook',
    'MotivationHook',
    'ProgressHook',
    'ReportHook',
]
