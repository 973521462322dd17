"""Reading a config and finding its mistakes before anything is built."""

import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import Runner

from motivation import registry as registries
from motivation.errors import ConfigError, near_matches

# Which registry the `type` of a field is looked up in, by the field's path.
_REGISTRY_OF = [
    (r'(model|model\.base|model\.motivated)', registries.MODELS),
    (r'model\.weight_map', registries.WEIGHT_MAPS),
    (r'motivation\.policy(\.policy|\.policies\.\d+)*', registries.POLICIES),
    (r'(train|val|test)_cfg', registries.LOOPS),
    (r'(train|val|test)_dataloader\.dataset', registries.DATASETS),
    (r'(train|val|test)_dataloader\.dataset\.transforms\.\d+', registries.TRANSFORMS),
    (r'(train|val|test)_dataloader\.sampler', registries.DATA_SAMPLERS),
    (r'(train|val|test)_dataloader\.(collate_fn|worker_init_fn)', registries.FUNCTIONS),
    (r'(val|test)_evaluator(\.\d+)?', registries.METRICS),
    (r'optim_wrapper(\.base|\.motivated)?', registries.OPTIM_WRAPPERS),
    (r'optim_wrapper(\.base|\.motivated)?\.optimizer', registries.OPTIMIZERS),
    (r'param_scheduler(\.\d+|\.base\.\d+|\.motivated\.\d+)?', registries.PARAM_SCHEDULERS),
    (r'default_hooks\.\w+|custom_hooks\.\d+', registries.HOOKS),
    (r'visualizer', registries.VISUALIZERS),
    (r'visualizer\.vis_backends\.\d+', registries.VISBACKENDS),
]

# Components that get all their arguments from the config.
_SELF_CONTAINED = (registries.MODELS, registries.POLICIES, registries.DATASETS, registries.TRANSFORMS, registries.HOOKS)

# What a training config cannot do without.
_REQUIRED = ('model', 'motivation', 'train_dataloader', 'train_cfg', 'optim_wrapper')


def load_config(path: str, options: dict[str, Any] | None = None) -> Config:
    """Read a config file and the options that override it.

    Args:
        path: A Python config file.
        options: Values by dotted field name, as of ``--cfg-options``. A ``type`` other than the
            file's begins the component anew: it has only the fields that other options give it.

    Raises:
        ConfigError: The file does not exist or does not parse, or an option does not apply.
    """
    if not Path(path).is_file():
        siblings = [str(sibling) for sibling in Path(path).parent.glob('*.py')]
        raise ConfigError(f'config {path!r} does not exist; {near_matches(path, siblings)}')
    load_plugins(Path(path).parent)
    try:
        config = Config.fromfile(path, import_custom_modules=False)
    except Exception as error:  # a config is a program and may raise anything
        raise ConfigError(f'config {path!r} does not parse: {_reason(error)}; mend it') from error
    config.setdefault('runner_type', 'DualModelRunner')
    config.setdefault('default_scope', registries.SCOPE)
    _import_custom_modules(config)
    apply_options(config, path, options or {})
    return config


def _import_custom_modules(config: Config) -> None:
    """Import what a config names under ``custom_imports``.

    MMEngine's own function hides why an import failed behind a list of every folder Python looks in.
    """
    custom = config.get('custom_imports') or {}
    names = custom.get('imports') or []
    for name in [names] if isinstance(names, str) else names:
        try:
            importlib.import_module(name)
        except Exception as error:  # a plugin is a program too
            if isinstance(error, ImportError) and custom.get('allow_failed_imports', False):
                continue
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = '' if place.filename.startswith('<') else f' ({Path(place.filename).name}, line {place.lineno})'
            raise ConfigError(
                f'custom_imports.imports names {name!r}, which does not import: {_reason(error)}{where}; mend it, '
                'or put it beside the config, in the current folder or among the installed packages'
            ) from error


def apply_options(config: Config, path: str, options: dict[str, Any]) -> None:
    """Override fields of a config in place.

    Args:
        config: Changed.
        path: Where it comes from, for messages.
        options: As of :func:`load_config`.

    Raises:
        ConfigError: An option names no field, or does not apply.
    """
    known = {*config, *inspect.signature(Runner).parameters}
    for option in options:
        if option.split('.')[0] not in known:
            raise ConfigError(
                f'--cfg-options {option} is not a field of {path!r}; {near_matches(option, _fields(config))}'
            )
        if option.endswith('.type'):
            _begin_anew(config, option.split('.')[:-1], options[option])
    try:
        config.merge_from_dict(options)
    except Exception as error:
        raise ConfigError(f'--cfg-options {options} do not apply to {path!r}: {error}') from error


def _begin_anew(config: Config, path: list[str], component: Any) -> None:
    """Drop the fields of the component at a path, if it is another than the one given."""
    node = config._cfg_dict
    for key in path:
        try:
            node = node[int(key)] if isinstance(node, list) else node[key]
        except (KeyError, IndexError, ValueError):
            return
    if isinstance(node, dict) and node.get('type') != component:
        node.clear()


def _fields(config: Config) -> Iterator[str]:
    """The dotted names of all fields of a config."""
    pending = [(str(key), value) for key, value in config.items()]
    while pending:
        path, value = pending.pop()
        yield path
        if isinstance(value, dict):
            pending += [(f'{path}.{key}', child) for key, child in value.items()]


def load_plugins(folder: Path) -> None:
    """Import what installed packages offer under ``motivation.plugins`` and make local modules importable.

    Args:
        folder: Where the config stands; ``custom_imports`` are looked for there and in the current
            folder, after everything that is installed.
    """
    for place in (str(folder.resolve()), str(Path.cwd())):
        if place not in sys.path:
            sys.path.append(place)
    for plugin in entry_points(group='motivation.plugins'):
        plugin.load()


def check_config(config: Config) -> None:
    """Find what a config names that does not exist, and what it lacks.

    Raises:
        ConfigError: Names the field, its value and what would be right.
    """
    for field in _REQUIRED:
        if not config.get(field):
            raise ConfigError(f'the config has no {field!r}; add it, or take it from a file under configs/_base_')
    if 'policy' not in config.motivation:
        raise ConfigError(
            "motivation has no 'policy'; write motivation = dict(policy=dict(type='ConsecutiveDrop', drops=2))"
        )
    if not isinstance(config.motivation.policy, dict) or not isinstance(
        config.motivation.policy.get('type'), (str, type)
    ):
        raise ConfigError(
            f'motivation.policy is {config.motivation.policy!r}; write policy=dict(type=...), or on the command line '
            'motivation.policy.type=...'
        )
    for field in ('train_cfg.max_epochs', 'train_cfg.val_interval', 'train_dataloader.batch_size'):
        part, name = field.split('.')
        value = config[part].get(name, 1)
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f'{field} is {value!r}; it must be a whole number of at least 1')
    if not config.train_cfg.get('by_epoch', True):
        raise ConfigError('train_cfg.by_epoch is False; training goes by epochs: leave it out and give max_epochs')
    check_components(config._cfg_dict.to_dict())


def check_components(plain: dict[str, Any]) -> None:
    """Find components that are not registered, and arguments that they do not take or lack.

    Args:
        plain: A config or parts of one, as a plain dict; it is filled up with default types.

    Raises:
        ConfigError: Names the field, its value and what would be right.
    """
    if plain['model'].get('type') == 'DualModel':
        weight_map = plain['model'].get('weight_map') or {}
        if not isinstance(weight_map, dict):
            raise ConfigError(f"model.weight_map is {weight_map!r}; write dict(type='AutoMap'), or leave it out")
        plain['model']['weight_map'] = {'type': 'AutoMap', **weight_map}
    for name, loop in (('train_cfg', 'DualTrainLoop'), ('val_cfg', 'DualValLoop'), ('test_cfg', 'DualTestLoop')):
        if isinstance(plain.get(name), dict):
            plain[name] = {'type': loop, **{key: value for key, value in plain[name].items() if key != 'by_epoch'}}
    for path, node in _typed_nodes(plain, ''):
        for pattern, registry in _REGISTRY_OF:
            if re.fullmatch(pattern, path):
                _check_component(path, node, registry)


def _typed_nodes(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every dict with a ``type`` below a node, with the dotted path to it."""
    if isinstance(node, dict) and isinstance(node.get('type'), str):
        yield path, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from _typed_nodes(child, f'{path}.{key}' if path else str(key))


def _check_component(path: str, node: dict[str, Any], registry: Registry) -> None:
    """Check that a component is registered and takes the arguments it is given."""
    component = registry.get(node['type'])
    if component is None:
        known = set(registry.module_dict) | set(registry.parent.module_dict if registry.parent else ())
        raise ConfigError(
            f'{path}.type is {node["type"]!r}, which is not registered; {near_matches(node["type"], known)}'
        )
    parameters = inspect.signature(component).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if not takes_any and registry is not registries.OPTIM_WRAPPERS:  # the constructor shares that field
        for argument in node.keys() - parameters.keys() - {'type', '_scope_'}:
            raise ConfigError(
                f'{path}.{argument} is not an argument of {node["type"]}; {near_matches(argument, parameters)}'
            )
    if registry in _SELF_CONTAINED:
        for name, parameter in parameters.items():
            named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            if named and parameter.default is parameter.empty and name not in node:
                raise ConfigError(f'{path}.{name} is missing; {node["type"]} needs it')


def _reason(error: Exception) -> str:
    """One line about an error in a config file, without the name of MMEngine's temporary copy."""
    message = f'{error.msg} (line {error.lineno})' if isinstance(error, SyntaxError) else ' '.join(str(error).split())
    return f'{type(error).__name__}: {message}'
