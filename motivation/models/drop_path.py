"""Stochastic depth of both models from one rate."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from timm.layers import DropPath
from torch import nn

from motivation.errors import ArgumentError

_NAME = 'drop_path_rate'

# Rates that differ by less are of the same block.
_EQUAL = 1e-6


def with_drop_path(config: dict[str, Any], rate: float | None, model: str) -> dict[str, Any]:
    """Return the config of a model with the rate of both models.

    Args:
        config: The config.
        rate: The rate; ``None`` leaves the config as it is.
        model: ``'base'`` or ``'motivated'``, for messages.

    Raises:
        ArgumentError: The config has a rate of its own.
    """
    if rate is None:
        return config
    if _NAME in config:
        raise ArgumentError(
            _NAME, f'is {rate}, and {model}.{_NAME} is {config[_NAME]}; give the one for both, or one for each'
        )
    return {**config, _NAME: rate}


def scale_drop_path(base: Any, motivated: Any, rate: float | None) -> None:
    """Scale the rates of the base model to its depth, so that they grow by the same step from block to block in both models.

    In a network of L blocks, stochastic depth drops block l, from 0, at the rate r l / (L - 1), of which r is that of the
    last (Huang et al., arXiv 1603.09382, section 3, and timm). Of L_b blocks in L_m, the base model's last gets the rate r (L_b -
    1) / (L_m - 1). Block l has the same rate in both; a shared block of another number in the motivated model has more there.

    Args:
        base: The base model, built with the rate.
        motivated: The motivated model, likewise.
        rate: r; ``None`` or 0 does nothing.

    Raises:
        ArgumentError: A network has no blocks that are dropped, or the base model cannot scale its rates.
    """
    if not rate:
        return
    steps = {}
    for name, model in (('base', base), ('motivated', motivated)):
        steps[name] = _steps(model, rate)
        if not steps[name]:
            raise ArgumentError(
                _NAME, f'is {rate}, and the {name} model has no blocks with stochastic depth; leave it out'
            )
    if steps['base'] == steps['motivated']:
        return
    if not callable(getattr(base, 'scale_drop_path', None)):
        raise ArgumentError(
            _NAME,
            f'is {rate}, and the base model is a {type(base).__name__} without scale_drop_path(factor); give one for each',
        )
    base.scale_drop_path(steps['base'] / steps['motivated'])


def _steps(model: nn.Module, rate: float) -> int:
    """Return in how many equal steps, from block to block, a network reaches its rate; 0 if it has none."""
    rates = sorted({0.0, *(path.drop_prob or 0.0 for path in drop_paths(model))})
    gaps = [high - low for low, high in pairwise(rates) if high - low > _EQUAL * rate]
    return round(rate / min(gaps)) if gaps else 0


def drop_paths(model: nn.Module) -> list[Any]:
    """Return the modules of a network that drop its residual branches, in order."""
    return [module for module in model.modules() if isinstance(module, DropPath)]


def scaled_rate(settings: Mapping[str, Any], factor: float) -> dict[str, float]:
    """Return the scaled rate of the arguments of a network, by its name; empty if they have none."""
    return {_NAME: settings[_NAME] * factor} if settings.get(_NAME) else {}
