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
        ConfigError: Names the fields that were given.
    """
    given = [f'motivation.policy.{field}' for field, value in values.items() if value is not None]
    if len(given) != 1:
        raise ConfigError(
            f'{" and ".join(given) or "nothing"} is given; give exactly one of '
            f'{", ".join(f"motivation.policy.{field}" for field in values)}'
        )
