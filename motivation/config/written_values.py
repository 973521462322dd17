"""Values of a config that cannot be written down with the run, as a config must be to be read again."""

import ast
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from motivation import registry as registries
from motivation.config.nodes import nodes
from motivation.config.schema import registry_of
from motivation.errors import ConfigError, shortened


def check_written_values(config: Config) -> None:
    """Refuse functions, classes and other objects that have no text of their own.

    Args:
        config: A config; what it imports is no part of it.

    Raises:
        ConfigError: Names the field, its value and the way out: a registered name.
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
    """The name of what stands for a component; a component of the user's own around what is an argument of one."""
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
                f'register a component of your own that has it, by motivation.registry.{registry}.register_module(), and give '
                f'its name as {place}.type'
            )
    return 'give numbers, strings or a component, dict(type=...), instead'


def _name(registry: Registry | None) -> str | None:
    """What a registry is called in :mod:`motivation.registry`."""
    return next((name for name, one in vars(registries).items() if one is registry), None)
