"""Filling in what a config may leave out."""

import copy

import torch
from mmengine.config import Config

from motivation.config.schema import DEFAULT_TYPES, MMENGINE_HOOKS


def with_defaults(config: Config) -> Config:
    """Return a copy of a checked config with the default component types and the MotivationHook filled in."""
    config = copy.deepcopy(config)
    hooks = config.get('default_hooks') or {}
    config.default_hooks = {
        # MMEngine removes its own hooks if they are None, and fails on others.
        **{name: hook for name, hook in hooks.items() if hook is not None or name in MMENGINE_HOOKS},
        'motivation': dict(type='MotivationHook', **config.motivation),
    }
    config.default_hooks.setdefault('checkpoint', None)  # else MMEngine adds its own, whose files do not resume exactly
    config.train_cfg.pop('by_epoch', None)
    config.optim_wrapper.setdefault('constructor', 'DualOptimWrapperConstructor')
    config.log_processor = {'type': DEFAULT_TYPES['log_processor'], **(config.get('log_processor') or {})}
    for stage in ('train', 'val', 'test'):
        if config.get(f'{stage}_cfg') is not None:
            config[f'{stage}_cfg'].setdefault('type', DEFAULT_TYPES[f'{stage}_cfg'])
        if config.get(f'{stage}_dataloader'):
            config[f'{stage}_dataloader'].setdefault('collate_fn', dict(type='motivation.collate_images'))
            config[f'{stage}_dataloader'].setdefault('worker_init_fn', dict(type='motivation.init_worker'))
            if config[f'{stage}_dataloader'].get('num_workers'):
                config[f'{stage}_dataloader'].setdefault('persistent_workers', True)
                # Copies from pinned memory alone overlap with computing; without a GPU torch warns of it.
                config[f'{stage}_dataloader'].setdefault('pin_memory', torch.cuda.is_available())
    return config
