"""Checks of what a config gives a policy; a wrong value is one sentence."""

import math
from typing import Any

from motivation.errors import ConfigError


def check_whole(field: str, value: Any, minimum: int) -> None:
    """Refuse what is no whole number of at least ``minimum``.

    Raises:
        ConfigError: Names the field and the value.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ConfigError(f'motivation.policy.{field} is {value!r}; it must be a whole number of at least {minimum}')


def check_number(field: str, value: Any, minimum: float = -math.inf, maximum: float = math.inf) -> None:
    """Refuse what is no finite number from ``minimum`` to ``maximum``.

    Raises:
        ConfigError: Names the field and the value.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if number and minimum <= value <= maximum:
        return
    if maximum < math.inf:
        limits = f' between {minimum:g} and {maximum:g}'
    else:
        limits = f' of at least {minimum:g}' if minimum > -math.inf else ''
    raise ConfigError(f'motivation.policy.{field} is {value!r}; it must be a number{limits}')


def check_choice(field: str, value: Any, *choices: str) -> None:
    """Refuse what is none of ``choices``.

    Raises:
        ConfigError: Names the field and the value.
    """
    if value not in choices:
        raise ConfigError(f'motivation.policy.{field} is {value!r}; it must be {" or ".join(map(repr, choices))}')


def check_one_of(**values: Any) -> None:
    """Refuse anything but exactly one value that is not ``None``.

    Raises:
        ConfigError: Names the fields and their values.
    """
    if sum(value is not None for value in values.values()) != 1:
        state = ', '.join(f'motivation.policy.{field} is {value!r}' for field, value in values.items())
        raise ConfigError(f'{state}; give exactly one of {", ".join(values)}')


def check_bool(field: str, value: Any) -> None:
    """Refuse what is neither ``True`` nor ``False``.

    Raises:
        ConfigError: Names the field and the value.
    """
    if not isinstance(value, bool):
        raise ConfigError(f'motivation.policy.{field} is {value!r}; it must be True or False')


def check_seed(seed: Any) -> None:
    """Refuse what is no seed: neither ``None`` nor a whole number of at least 0.

    Raises:
        ConfigError: Names the value.
    """
    if seed is not None:
        check_whole('seed', seed, 0)


def is_beyond(value: float, below: float | None, above: float | None, unit: float = 1.0) -> bool:
    """Whether a value is below ``below`` or above ``above``, whichever is given, in multiples of ``unit``."""
    if below is not None:
        return value < below * unit
    return above is not None and value > above * unit
