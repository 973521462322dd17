"""Checking that a config can be saved as text and read again."""

import ast
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from motivation import registry as registries
from motivation.config.nodes import nodes
from motivation.config.schema import registry_of
from motivation.errors import ConfigError, shortened


def check_written_values(config: Config) -> None:
    """Check that a config has no functions, classes or other objects that cannot be saved as text.

    Args:
        config: The config; names that it imports are not checked.

    Raises:
        ConfigError: A value cannot be saved; names the field, its value and the fix.
    """
    for path, value in nodes(config._cfg_dict.to_dict()):
        if path.partition('.')[0] in getattr(config, '_imported_names', ()):
            continue
        if isinstance(value, (str, dict, list, tuple)) or _is_expression(str(value)):
            continue
        kind = 'a class' if isinstance(value, type) else 'a function' if callable(value) else 'an object'
        raise ConfigError(
            f'{path} is {shortened(value)}, {kind} that cannot be written down with the run; {_way_out(path, value)}'
        )


def _is_expression(text: str) -> bool:
    try:
        ast.parse(text, mode='eval')
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return True


def _way_out(path: str, value: Any) -> str:
    """Return the advice to register the component, or one that takes the value as its argument."""
    name = getattr(value, '__name__', 'Mine')
    name = 'my_function' if name == '<lambda>' else name
    place = path.removesuffix('.type')
    registry = _name(registry_of(place))
    if registry is not None:
        given = f'type={name!r}' if path.endswith('.type') else f'dict(type={name!r})'
        return f'give its registered name, {given}, after motivation.registry.{registry}.register_module()'
    while '.' in place:
        place = place.rpartition('.')[0]
        registry = _name(registry_of(place))
        if registry is not None:
            return (
                f'register a component of your own that uses it, with motivation.registry.{registry}.register_module(), and '
                f'give its name as {place}.type'
            )
    return 'give numbers, strings or a component, dict(type=...), instead'


def _name(registry: Registry | None) -> str | None:
    """Return the name of a registry in :mod:`motivation.registry`."""
    return next((name for name, value in vars(registries).items() if value is registry), None)
