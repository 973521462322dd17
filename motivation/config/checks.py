"""Finding the mistakes of a config before anything is built."""

import logging
from typing import Any

from mmengine.config import Config

from motivation import registry as registries
from motivation.config.components import check_components, check_count, check_spelling, check_value, look_up
from motivation.config.fields import known_fields, refuse_fields
from motivation.config.written_values import check_written_values
from motivation.errors import ConfigError, near_matches, shortened

# What a training config cannot do without.
_REQUIRED = ('model', 'motivation', 'train_dataloader', 'train_cfg', 'optim_wrapper')

# More processes than these are a mistake, and would stop the machine before anything tells.
_MAX_WORKERS = 256


def check_fields(plain: dict[str, Any]) -> None:
    """Find misspelt top-level fields, and values of the wrong type in them.

    Every other name is the config's own: a helper variable.

    Args:
        plain: A config, as a plain dict.

    Raises:
        ConfigError: Names the field, its value and what would be right.
    """
    known = known_fields()
    for field, value in plain.items():
        if field in known:
            check_value(field, value, known[field])
        elif not field.startswith('_'):
            check_spelling(field, known, 'mend it, or begin the name of a helper variable with _')
    scope = plain.get('default_scope', registries.SCOPE)
    if scope != registries.SCOPE:
        raise ConfigError(f'default_scope is {shortened(scope)}; leave it out, or write {registries.SCOPE!r}')
    name = plain.get('runner_type', 'DualModelRunner')
    runner = look_up(registries.RUNNERS, name) if isinstance(name, str) else name
    if not isinstance(runner, type) or not issubclass(runner, look_up(registries.RUNNERS, 'DualModelRunner')):
        raise ConfigError(
            f'runner_type is {shortened(name)}, which is no registered DualModelRunner; leave it out, or name a class of '
            'your own below it'
        )


def check_config(config: Config) -> None:
    """Find what a config names that does not exist, what it lacks, and values that cannot be.

    Raises:
        ConfigError: Names the field, its value and what would be right.
    """
    plain = config._cfg_dict.to_dict()
    check_fields(plain)
    check_written_values(config)
    refuse_fields(plain)
    for field in _REQUIRED:
        if not plain.get(field):
            raise ConfigError(f'the config has no {field!r}; add it, or take it from a file under configs/_base_')
    if not isinstance(plain['motivation'], dict) or 'policy' not in plain['motivation']:
        raise ConfigError(
            "motivation has no 'policy'; write motivation = dict(policy=dict(type='ConsecutiveDrop', drops=2))"
        )
    policy = plain['motivation']['policy']
    if not isinstance(policy, dict) or not isinstance(policy.get('type'), (str, type)):
        raise ConfigError(
            f'motivation.policy is {shortened(policy)}; write policy=dict(type=...), or on the command line '
            'motivation.policy.type=...'
        )
    loaders = [field for field in ('train_dataloader', 'val_dataloader', 'test_dataloader') if plain.get(field)]
    counts = (
        'train_cfg.max_epochs',
        'train_cfg.val_interval',
        'log_processor.window_size',
        'auto_scale_lr.base_batch_size',
    )
    for field in (*counts, *(f'{loader}.batch_size' for loader in loaders)):
        part, name = field.split('.')
        value = (plain.get(part) or {}).get(name, 1)
        check_count(field, value)
    for loader in loaders:
        for name in ('dataset', 'sampler'):
            if name not in plain[loader]:
                raise ConfigError(f'{loader}.{name} is missing; a data loader needs it')
        workers = plain[loader].get('num_workers', 0)
        if isinstance(workers, int) and not 0 <= workers <= _MAX_WORKERS:
            raise ConfigError(f'{loader}.num_workers is {workers}; it must be 0 to {_MAX_WORKERS} processes')
        for name in ('persistent_workers', 'prefetch_factor'):
            if plain[loader].get(name) and not workers:
                raise ConfigError(f'{loader}.{name} is {plain[loader][name]}, which needs num_workers of at least 1')
    if not plain['train_cfg'].get('by_epoch', True):
        raise ConfigError('train_cfg.by_epoch is False; training goes by epochs: leave it out and give max_epochs')
    val_begin, max_epochs = (plain['train_cfg'].get(name, 1) for name in ('val_begin', 'max_epochs'))
    if plain.get('val_cfg') is not None and isinstance(val_begin, int) and val_begin > max_epochs:
        raise ConfigError(
            f'train_cfg.val_begin is {val_begin}, after train_cfg.max_epochs, which is {max_epochs}; lower it, or leave '
            'validation out with val_cfg=None, val_dataloader=None and val_evaluator=None'
        )
    _check_seed(plain.get('randomness', {}).get('seed', 0))
    clip_grad = plain['optim_wrapper'].get('clip_grad')
    max_norm = clip_grad.get('max_norm', 1) if isinstance(clip_grad, dict) else 1
    if isinstance(max_norm, (int, float)) and not max_norm > 0:
        raise ConfigError(f'optim_wrapper.clip_grad.max_norm is {max_norm}; it must be above 0')
    level = plain.get('log_level', 'INFO')
    if isinstance(level, str) and not isinstance(logging.getLevelName(level), int):
        raise ConfigError(f'log_level is {level!r}; {near_matches(level, ("DEBUG", "INFO", "WARNING", "ERROR"))}')
    for stage in ('val', 'test'):
        parts = [f'{stage}_{part}' for part in ('dataloader', 'cfg', 'evaluator')]
        absent = [part for part in parts if plain.get(part) is None]
        if 0 < len(absent) < 3:
            raise ConfigError(f'{absent[0]} is missing; {", ".join(parts)} go together: give all of them or none')
    check_components(plain)


def _check_seed(seed: Any) -> None:
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32):
        raise ConfigError(f'randomness.seed is {shortened(seed)}; it must be a whole number of 0 to 2**32 - 1')
