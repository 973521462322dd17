"""Checking a config before anything is built."""

import logging
from typing import Any

from mmengine.config import Config

from motivation import registry as registries
from motivation.config.components import check_components, check_spelling, check_value
from motivation.config.effects import check_effects
from motivation.config.schema import known_fields, refuse_fields
from motivation.config.written_values import check_written_values
from motivation.errors import ConfigError, near_matches, shortened
from motivation.registry import look_up

# Fields that every training config must have.
_REQUIRED = ('model', 'motivation', 'train_dataloader', 'train_cfg', 'optim_wrapper')


def check_fields(plain: dict[str, Any]) -> None:
    """Check top-level fields for misspelt names and values of the wrong type.

    All other names are helper variables of the config.

    Args:
        plain: The config, as a plain dict.

    Raises:
        ConfigError: A field is invalid; names the field, its value and the fix.
    """
    known = known_fields()
    for field, value in plain.items():
        if field in known:
            check_value(field, value, known[field])
        elif not field.startswith('_'):
            check_spelling(field, known, 'correct it, or begin the name of a helper variable with _')
    scope = plain.get('default_scope', registries.SCOPE)
    if scope != registries.SCOPE:
        raise ConfigError(f'default_scope is {shortened(scope)}; leave it out, or write {registries.SCOPE!r}')
    name = plain.get('runner_type', 'DualModelRunner')
    runner = look_up(registries.RUNNERS, name)
    if not isinstance(runner, type) or not issubclass(runner, look_up(registries.RUNNERS, 'DualModelRunner')):
        raise ConfigError(
            f'runner_type is {shortened(name)}, which is not a registered DualModelRunner; leave it out, or name a subclass '
            'of your own'
        )


def check_config(config: Config) -> None:
    """Check a config for missing fields, unknown names and invalid values.

    Raises:
        ConfigError: A field is missing or invalid; names the field, its value and the fix.
    """
    plain = config._cfg_dict.to_dict()
    check_fields(plain)
    check_written_values(config)
    refuse_fields(plain)
    for field in _REQUIRED:
        if not plain.get(field):
            raise ConfigError(f'the config has no {field!r}; add it, or take it from a file under configs/_base_')
    _check_policy(plain['motivation'])
    if not plain['train_cfg'].pop('by_epoch', True):
        raise ConfigError('train_cfg.by_epoch is False; training goes by epochs: leave it out and give max_epochs')
    check_components(plain)
    _check_loaders(plain)
    _check_agreement(plain)
    check_effects(plain)


def _check_policy(motivation: Any) -> None:
    if not isinstance(motivation, dict) or 'policy' not in motivation:
        raise ConfigError(
            "motivation has no 'policy'; write motivation = dict(policy=dict(type='ConsecutiveDrop', drops=2))"
        )
    policy = motivation['policy']
    if not isinstance(policy, dict) or not isinstance(policy.get('type'), (str, type)):
        raise ConfigError(
            f'motivation.policy is {shortened(policy)}; write policy=dict(type=...), or on the command line '
            'motivation.policy.type=...'
        )


def _check_loaders(plain: dict[str, Any]) -> None:
    """Check that each data loader has its required fields."""
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        node = plain.get(loader) or {}
        for name in ('dataset', 'sampler') if node else ():
            if name not in node:
                raise ConfigError(f'{loader}.{name} is missing; a data loader needs it')


def _check_agreement(plain: dict[str, Any]) -> None:
    """Check that the values of related fields agree."""
    val_begin, max_epochs = (plain['train_cfg'].get(name, 1) for name in ('val_begin', 'max_epochs'))
    if plain.get('val_cfg') is not None and val_begin > max_epochs:
        raise ConfigError(
            f'train_cfg.val_begin is {val_begin}, after train_cfg.max_epochs, which is {max_epochs}; lower it, or leave '
            'validation out with val_cfg=None, val_dataloader=None and val_evaluator=None'
        )
    level = plain.get('log_level', 'INFO')
    if isinstance(level, str) and not isinstance(logging.getLevelName(level), int):
        raise ConfigError(f'log_level is {level!r}; {near_matches(level, ("DEBUG", "INFO", "WARNING", "ERROR"))}')
    for stage in ('val', 'test'):
        parts = [f'{stage}_{part}' for part in ('dataloader', 'cfg', 'evaluator')]
        absent = [part for part in parts if plain.get(part) is None]
        if 0 < len(absent) < 3:
            raise ConfigError(f'{absent[0]} is missing; {", ".join(parts)} go together: give all of them or none')
    scaling = plain.get('auto_scale_lr') or {}
    if scaling.get('enable') and 'base_batch_size' not in scaling:
        raise ConfigError('auto_scale_lr.base_batch_size is missing; give the batch size that optimizer.lr is for')
    schedulers = plain.get('param_scheduler')
    if isinstance(schedulers, dict) and 'type' not in schedulers:
        for name in schedulers.keys() - {'base', 'motivated'}:
            raise ConfigError(
                f'param_scheduler.{name} is not a model; {near_matches(str(name), ("base", "motivated"))}'
            )
