"""Filling in what a config may leave out."""

import copy
from typing import Any

import torch
from mmengine.config import Config

from motivation.config.schema import DEFAULT_TYPES, MMENGINE_HOOKS
from motivation.registry import DATA_LOADERS, look_up
from motivation.utils.arguments import arguments_of


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
            _fill_in_loader(config[f'{stage}_dataloader'])
    return config


def _fill_in_loader(loader: Any) -> None:
    """Fill in what the class of a data loader takes, so that the config that a run saves is valid."""
    defaults: dict[str, Any] = dict(
        collate_fn=dict(type='motivation.collate_images'), worker_init_fn=dict(type='motivation.init_worker')
    )
    if loader.get('num_workers'):
        # Copies from pinned memory alone overlap with computing; without a GPU torch warns of it.
        defaults |= dict(persistent_workers=True, pin_memory=torch.cuda.is_available())
    arguments, takes_any = arguments_of(look_up(DATA_LOADERS, loader.get('type', DEFAULT_TYPES['train_dataloader'])))
    for name, value in defaults.items():
        if takes_any or name in arguments:
            loader.setdefault(name, value)
