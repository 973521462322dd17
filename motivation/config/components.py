"""Checking the components of a config: their types and arguments."""

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mmengine.dataset import BaseDataset, ClassBalancedDataset, InfiniteSampler
from mmengine.hooks import CheckpointHook, EMAHook, NaiveVisualizationHook, PrepareTTAHook
from mmengine.registry import Registry
from mmengine.runner import Priority

from motivation import registry as registries
from motivation.config.nodes import nodes
from motivation.config.schema import (
    BESIDES,
    DEFAULT_TYPES,
    MMENGINE_HOOKS,
    PARTIAL,
    bounds_of,
    function_of,
    registry_of,
)
from motivation.datasets.transforms import REFUSED, UNTYPED, from_plain
from motivation.errors import ConfigError, near_matches, shortened
from motivation.registry import look_up
from motivation.utils.arguments import arguments_of, problem_of

# Similarity above which a name counts as a misspelling of a known one: 'modl' does, 'train_loader' does not.
_LIKENESS = 0.87

_CONSTRUCTOR = 'DualOptimWrapperConstructor'

# Registries of components that get all their arguments from the config.
_SELF_CONTAINED = (registries.MODELS, registries.POLICIES, registries.DATASETS, registries.TRANSFORMS, registries.HOOKS)


def check_components(plain: dict[str, Any]) -> None:
    """Check that all components are registered and that their arguments are known, complete and valid.

    Args:
        plain: A config or a part of one, as a plain dict.

    Raises:
        ConfigError: A component is invalid; names the field, its value and the fix.
    """
    hooks = list(plain.get('default_hooks') or {})
    for index, hook in enumerate(hooks):
        if hook not in MMENGINE_HOOKS:
            check_spelling(
                f'default_hooks.{hook}', {*MMENGINE_HOOKS, *hooks[:index]}, 'correct it, or give it another name'
            )
    for path, node in nodes(plain):
        function, registry = function_of(path), registry_of(path)
        if function is not None and node is not None and not isinstance(node, bool):
            _check_arguments(path, node, *function)
        several = isinstance(node, (list, tuple)) and registry_of(f'{path}.0') is registry
        if registry is not None and not several:
            _check_component(path, node, registry, _type_of(path, node, plain))


def components(plain: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Yield every component of a config.

    Args:
        plain: The config, as a plain dict.

    Yields:
        Dotted path, config, and registered class or function of a component.
    """
    for path, node in nodes(plain):
        registry, name = registry_of(path), _type_of(path, node, plain)
        if registry is not None and name is not None:
            yield path, node, look_up(registry, name)


def _type_of(path: str, node: Any, plain: dict[str, Any]) -> Any:
    """Return the type of a component: its own, the default of its field, or that of the field common to both models."""
    if not isinstance(node, dict) or 'type' in node:
        return node['type'] if isinstance(node, dict) else None
    shared = re.sub(r'(?<=^optim_wrapper)\.(base|motivated)', '', path)
    if shared != path:
        common = plain['optim_wrapper'] if shared == 'optim_wrapper' else plain['optim_wrapper'].get('optimizer')
        return _type_of(shared, common, plain)
    return DEFAULT_TYPES.get(path)


def _check_component(path: str, node: Any, registry: Registry, name: Any) -> None:
    """Check that a component is registered, and check its arguments."""
    if not isinstance(node, dict):
        if isinstance(node, (bool, int, float, str, list, tuple)):
            raise ConfigError(f'{path} must be a component: dict(type=...), got {shortened(node)}')
        return  # None, or already built
    if name is None and 'type' not in node:
        if re.fullmatch(PARTIAL, path):
            return
        raise ConfigError(f'{path} must have a type, dict(type=..., ...), got {shortened(node)}')
    if not isinstance(name, str) and not callable(name):
        raise ConfigError(f'{path}.type must be the name of a registered component, got {shortened(name)}')
    component = look_up(registry, name)
    if component is None:
        known = set(registry.module_dict) | set(registry.parent.module_dict if registry.parent else ())
        known = {other for other in known if not _misplaced(registry, path, look_up(registry, other))}
        advice = near_matches(name, known)
        if registry is registries.LOSSES:
            several = [other for other in known if getattr(look_up(registry, other), 'several_labels', False)]
            advice += f'; for several labels an image there is {", ".join(sorted(several))}'
        raise ConfigError(f'{path}.type is {shortened(name)}, which is not registered; {advice}')
    if registry is registries.OPTIM_WRAPPERS and node.get('constructor', _CONSTRUCTOR) != _CONSTRUCTOR:
        return  # another constructor may take anything
    if registry is registries.TRANSFORMS:
        node = _check_transform(path, node, component)
    if registry is registries.DATASETS:
        _check_wrapper(path, node, component)
    _check_arguments(path, node, component, ('type', '_scope_', *BESIDES.get(registry, ())))
    misplaced = _misplaced(registry, path, component)
    if misplaced:
        raise ConfigError(f'{path}.type is {shortened(name)}{misplaced}')
    if registry is registries.HOOKS and 'priority' in node:
        _check_priority(f'{path}.priority', node['priority'])
    if registry in _SELF_CONTAINED:
        for argument, parameter in arguments_of(component)[0].items():
            if parameter.default is parameter.empty and argument not in node:
                raise ConfigError(f'{path}.{argument} is missing; {_name(component)} needs it')


def _misplaced(registry: Registry, path: str, component: Any) -> str:
    """Return why a registered component cannot be used in a field, and what to use instead; ``''`` if it can."""
    if registry is registries.LOOPS and not _is_below(component, look_up(registry, DEFAULT_TYPES[path])):
        return f'; it must be {DEFAULT_TYPES[path]} or a subclass of it'
    if _is_below(component, InfiniteSampler):
        sampler = f"dict(type='DefaultSampler', shuffle={path.startswith('train')})"
        return f', which never ends, and training and evaluation go by epochs; write {sampler}'
    if _is_below(component, CheckpointHook):
        best = "default_hooks.export.save_best='accuracy/top1'"
        return (
            f', whose checkpoints cannot be resumed exactly; write DualCheckpointHook, and for the best models {best}'
        )
    if _is_below(component, EMAHook):
        return (
            ', which would score averaged weights under the names of the others; write model.ema=dict(decay=0.999), with '
            'which both are scored and exported'
        )
    if _is_below(component, PrepareTTAHook):
        return ', which would replace both models by one wrapper; leave it out'
    if _is_below(component, NaiveVisualizationHook):
        return ", which draws what other models' predictions hold; leave it out"
    return ''


def _is_below(component: Any, kind: type) -> bool:
    return isinstance(component, type) and issubclass(component, kind)


def _check_transform(path: str, node: dict[str, Any], component: Any) -> dict[str, Any]:
    """Check that a transform is one of single images, and return its config with plain values turned into objects."""
    if component in REFUSED:
        raise ConfigError(f'{path}.type is {shortened(node["type"])}, which {REFUSED[component]}')
    arguments, _ = arguments_of(component)
    annotations = {name: parameter.annotation for name, parameter in arguments.items()}
    return {
        key: from_plain(value, annotations.get(key)) for key, value in node.items() if (component, key) not in UNTYPED
    }


def _check_wrapper(path: str, node: dict[str, Any], component: Any) -> None:
    """Check that MMEngine's dataset wrappers contain only subclasses of its BaseDataset."""
    if getattr(component, '__module__', '') != ClassBalancedDataset.__module__:
        return
    for name in ('dataset', 'datasets'):
        for inner in node[name] if isinstance(node.get(name), (list, tuple)) else [node.get(name)]:
            kind = look_up(registries.DATASETS, inner.get('type')) if isinstance(inner, dict) else None
            if isinstance(kind, type) and not issubclass(kind, BaseDataset):
                raise ConfigError(
                    f"{path}.type is {shortened(node['type'])}, which takes only subclasses of MMEngine's BaseDataset, not "
                    f'{kind.__name__}; use ConcatDataset or RepeatDataset'
                )


def _check_priority(field: str, value: Any) -> None:
    names = Priority.__members__
    if isinstance(value, str) and value.upper() not in names:
        raise ConfigError(f'{field} is {value!r}; {near_matches(value.upper(), names)}')
    if not isinstance(value, (str, int, Priority)) or (isinstance(value, int) and not 0 <= value <= 100):
        raise ConfigError(f'{field} must be one of {", ".join(names)} or a number of 0 to 100, got {shortened(value)}')


def _check_arguments(path: str, node: Any, component: Callable[..., Any] | None, besides: Iterable[str]) -> None:
    """Check names and values of the arguments of a class or function."""
    if not isinstance(node, dict):
        raise ConfigError(f'{path} must be a dict, got {shortened(node)}')
    arguments, takes_any = arguments_of(component) if component else ({}, False)
    for argument, value in node.items():
        place = f'{path}.{argument}'
        parameter = bounds_of(place) or arguments.get(argument)
        if parameter is not None:
            check_value(place, value, parameter)
        elif argument not in besides and not takes_any:
            problem = f'not an argument of {_name(component)}' if component else 'not known'
            known = {name for name in (*arguments, *besides) if not name.startswith('_')}
            raise ConfigError(f'{place} is {problem}; {near_matches(str(argument), known)}')


def check_value(field: str, value: Any, argument: inspect.Parameter) -> None:
    """Raise a :class:`ConfigError` if a value is not valid for an argument."""
    problem = problem_of(value, argument)
    if problem:
        raise ConfigError(f'{field} {problem}')


def check_spelling(field: str, known: Iterable[str], way_out: str) -> None:
    """Raise a :class:`ConfigError` if the last name of a field is a misspelling of a known one."""
    name = field.rpartition('.')[2]
    near = difflib.get_close_matches(name, known, n=1, cutoff=_LIKENESS)
    near += [other for other in known if sorted(other) == sorted(name)]
    if near:
        raise ConfigError(f'{field} is not a field; did you mean {near[0]!r}? {way_out}')


def _name(component: Any) -> str:
    return getattr(component, '__name__', repr(component))
