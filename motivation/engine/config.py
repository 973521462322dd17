"""Reading a config and finding its mistakes before anything is built."""

import difflib
import importlib
import inspect
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import Priority, Runner
from mmengine.utils import import_modules_from_strings
from mmengine.utils.dl_utils import set_multi_processing
from timm.data import Mixup
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader

from motivation import registry as registries
from motivation.engine.signatures import arguments_of, fits, in_words
from motivation.errors import ConfigError, near_matches, shortened

# Which registry the `type` of a field is looked up in, by the field's path.
_REGISTRY_OF = [
    (r'(model|model\.base|model\.motivated)', registries.MODELS),
    (r'model\.weight_map', registries.WEIGHT_MAPS),
    (r'motivation', registries.HOOKS),
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
    (r'log_processor', registries.LOG_PROCESSORS),
    (r'visualizer', registries.VISUALIZERS),
    (r'visualizer\.vis_backends\.\d+', registries.VISBACKENDS),
]

# Fields that hold the arguments of something that is not in a registry, and which these have besides.
_ARGUMENTS_OF: list[tuple[str, Callable[..., Any] | None, tuple[str, ...]]] = [
    (r'(train|val|test)_dataloader', DataLoader, ('num_batch_per_epoch', 'disable_subprocess_warning')),
    (r'optim_wrapper(\.base|\.motivated)?\.clip_grad', clip_grad_norm_, ('type', 'clip_value')),
    (r'randomness', Runner.set_randomness, ()),
    (r'env_cfg', None, ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit')),
    (r'env_cfg\.mp_cfg', set_multi_processing, ()),
    (r'auto_scale_lr', None, ('enable', 'base_batch_size')),
    (r'custom_imports', import_modules_from_strings, ()),
    (r'model\.(base|motivated)\.mixup', Mixup, ()),
]

# Fields that give only a part of a component, or several of them by name.
_PARTIAL = r'optim_wrapper\.(base|motivated)(\.optimizer)?|param_scheduler|(val|test)_evaluator'

# What a component's config may have beside its arguments.
_BESIDES = {
    registries.OPTIM_WRAPPERS: ('constructor', 'paramwise_cfg', 'base', 'motivated'),
    registries.PARAM_SCHEDULERS: ('convert_to_iter_based',),
    registries.HOOKS: ('priority',),
}

# Top-level fields that are no arguments of MMEngine's runner.
_FIELDS = {'motivation', 'runner_type', 'custom_imports', 'model_wrapper_cfg', 'activation_checkpointing'}
_FIELDS |= {'efficient_conv_bn_eval', 'compile', 'sync_bn', 'find_unused_parameters'}

# How like a known name another must be to be a misspelling of it: 'modl' is, 'train_loader' is a name of its own.
_LIKENESS = 0.87

_MMENGINE_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
_CONSTRUCTOR = 'DualOptimWrapperConstructor'

# Components that get all their arguments from the config.
_SELF_CONTAINED = (registries.MODELS, registries.POLICIES, registries.DATASETS, registries.TRANSFORMS, registries.HOOKS)

# What a training config cannot do without.
_REQUIRED = ('model', 'motivation', 'train_dataloader', 'train_cfg', 'optim_wrapper')

# What a schedule divides by.
_PERIODS = {'T_max', 'step_size', 'total_steps'}

# What MMEngine's schedulers take for the end of time.
_MAX_COUNT = 10**9

# More processes than these are a mistake, and would stop the machine before anything tells.
_MAX_WORKERS = 256


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
    _import_custom_modules(config)  # those that an option names, too
    check_fields(config._cfg_dict.to_dict())
    return config


def _import_custom_modules(config: Config) -> None:
    """Import what a config names under ``custom_imports``.

    MMEngine's own function hides why an import failed behind a list of every folder Python looks in.
    """
    custom = config.get('custom_imports') or {}
    if not isinstance(custom, dict) or not isinstance(custom.get('imports') or [], (str, list, tuple)):
        raise ConfigError(f'custom_imports is {shortened(custom)}; write dict(imports=[...]) with names of modules')
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
    known = {*config, *inspect.signature(Runner).parameters, *_FIELDS}
    for option in options:
        if option.split('.')[0] not in known:
            raise ConfigError(
                f'--cfg-options {option} is not a field of {path!r}; {near_matches(option, _fields(config))}'
            )
        if option.endswith('.type') and option != 'optim_wrapper.type':  # whose kinds have their fields in common
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


def check_fields(plain: dict[str, Any]) -> None:
    """Find misspelt top-level fields, and values of the wrong type in them.

    Every other name is the config's own: a helper variable.

    Args:
        plain: A config, as a plain dict.

    Raises:
        ConfigError: Names the field, its value and what would be right.
    """
    arguments, _ = arguments_of(Runner)
    known = {*arguments, *_FIELDS}
    for field, value in plain.items():
        if field in known:
            _check_value(field, value, arguments.get(field))
        elif not field.startswith('_'):
            _check_spelling(field, known, 'mend it, or begin the name of a helper variable with _')
    scope = plain.get('default_scope', registries.SCOPE)
    if scope != registries.SCOPE:
        raise ConfigError(f'default_scope is {shortened(scope)}; leave it out, or write {registries.SCOPE!r}')
    name = plain.get('runner_type', 'DualModelRunner')
    runner = _look_up(registries.RUNNERS, name) if isinstance(name, str) else name
    if not isinstance(runner, type) or not issubclass(runner, _dual_runner()):
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
    counts = ('train_cfg.max_epochs', 'train_cfg.val_interval', 'log_processor.window_size')
    for field in (*counts, *(f'{loader}.batch_size' for loader in loaders)):
        part, name = field.split('.')
        value = (plain.get(part) or {}).get(name, 1)
        _check_count(field, value)
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
            raise ConfigError(
                f"model.weight_map is {shortened(weight_map)}; write dict(type='AutoMap'), or leave it out"
            )
        plain['model']['weight_map'] = {'type': 'AutoMap', **weight_map}
    for name, loop in (('train_cfg', 'DualTrainLoop'), ('val_cfg', 'DualValLoop'), ('test_cfg', 'DualTestLoop')):
        if isinstance(plain.get(name), dict):
            plain[name] = {'type': loop, **{key: value for key, value in plain[name].items() if key != 'by_epoch'}}
    for name, component in (('motivation', 'MotivationHook'), ('log_processor', 'LogProcessor')):
        if isinstance(plain.get(name), dict):
            plain[name] = {'type': component, **plain[name]}
    if 'optim_wrapper' in plain:
        _fill_up_optim_wrapper(plain['optim_wrapper'])
    hooks = list(plain.get('default_hooks') or {})
    for index, hook in enumerate(hooks):
        if hook not in _MMENGINE_HOOKS:
            _check_spelling(
                f'default_hooks.{hook}', {*_MMENGINE_HOOKS, *hooks[:index]}, 'mend it, or give it another name'
            )
    for path, node in _nodes(plain, ''):
        for pattern, function, besides in _ARGUMENTS_OF:
            if re.fullmatch(pattern, path) and node is not None:
                _check_arguments(path, node, function, besides)
        for pattern, registry in _REGISTRY_OF:
            several = isinstance(node, (list, tuple)) and re.fullmatch(pattern, f'{path}.0')
            if re.fullmatch(pattern, path) and not several:
                _check_component(path, node, registry)


def _fill_up_optim_wrapper(wrapper: dict[str, Any]) -> None:
    """Give the wrapper its default type, and what holds for one model the types of what it overrides."""
    wrapper.setdefault('type', 'OptimWrapper')
    optimizer = wrapper.get('optimizer')
    for own in (wrapper.get('base'), wrapper.get('motivated')):
        if isinstance(own, dict):
            own.setdefault('type', wrapper['type'])
            if isinstance(own.get('optimizer'), dict) and isinstance(optimizer, dict) and 'type' in optimizer:
                own['optimizer'].setdefault('type', optimizer['type'])


def _nodes(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Everything below a node, with the dotted path to it."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, child in children:
        place = f'{path}.{key}' if path else str(key)
        yield place, child
        yield from _nodes(child, place)


def _check_component(path: str, node: Any, registry: Registry) -> None:
    """Check that a component is registered and takes the arguments it is given."""
    if not isinstance(node, dict):
        if isinstance(node, (bool, int, float, str, list, tuple)):
            raise ConfigError(f'{path} is {shortened(node)}; it must be a component: dict(type=...)')
        return  # None, or one that is already built
    if 'type' not in node:
        if re.fullmatch(_PARTIAL, path):
            return
        raise ConfigError(f'{path} is {shortened(node)}, without a type; write dict(type=..., ...)')
    name = node['type']
    if not isinstance(name, str) and not callable(name):
        raise ConfigError(f'{path}.type is {shortened(name)}; it must be the name of a registered component')
    component = _look_up(registry, name) if isinstance(name, str) else name
    if component is None:
        known = set(registry.module_dict) | set(registry.parent.module_dict if registry.parent else ())
        raise ConfigError(f'{path}.type is {shortened(name)}, which is not registered; {near_matches(name, known)}')
    if registry is registries.OPTIM_WRAPPERS and node.get('constructor', _CONSTRUCTOR) != _CONSTRUCTOR:
        return  # another constructor may take anything
    _check_arguments(path, node, component, ('type', '_scope_', *_BESIDES.get(registry, ())))
    if registry is registries.LOOPS and path == 'train_cfg' and not issubclass(component, _train_loop()):
        raise ConfigError(
            f'train_cfg.type is {shortened(name)}; it must be DualTrainLoop or a class of your own below it'
        )
    if registry is registries.PARAM_SCHEDULERS:
        if isinstance(node.get('begin'), int) and node['begin'] < 0:
            raise ConfigError(f'{path}.begin is {node["begin"]}; it must be at least 0')
        for argument in _PERIODS & node.keys():
            if node[argument] is not None:
                _check_count(f'{path}.{argument}', node[argument])
    if registry is registries.HOOKS and 'priority' in node:
        _check_priority(f'{path}.priority', node['priority'])
    if registry in _SELF_CONTAINED:
        for argument, parameter in arguments_of(component)[0].items():
            if parameter.default is parameter.empty and argument not in node:
                raise ConfigError(f'{path}.{argument} is missing; {_name(component)} needs it')


def _check_priority(field: str, value: Any) -> None:
    names = Priority.__members__
    if isinstance(value, str) and value.upper() not in names:
        raise ConfigError(f'{field} is {value!r}; {near_matches(value.upper(), names)}')
    if not isinstance(value, (str, int, Priority)) or (isinstance(value, int) and not 0 <= value <= 100):
        raise ConfigError(
            f'{field} is {shortened(value)}; it must be one of {", ".join(names)} or a number of 0 to 100'
        )


def _train_loop() -> type:
    from motivation.engine.train_loop import DualTrainLoop  # which knows the runner, and that this module

    return DualTrainLoop


def _dual_runner() -> type:
    from motivation.engine.runner import DualModelRunner

    return DualModelRunner


def _look_up(registry: Registry, name: str) -> Any:
    try:
        found = registry.get(name)
    except RuntimeError:  # MMEngine's word for some names that cannot be, such as ''
        return None
    return found if callable(found) else None  # MMEngine takes the name of a module for a component, too


def _check_arguments(path: str, node: Any, component: Callable[..., Any] | None, besides: Iterable[str]) -> None:
    """Check that something takes the arguments it is given."""
    if not isinstance(node, dict):
        raise ConfigError(f'{path} is {shortened(node)}; it must be a dict')
    arguments, takes_any = arguments_of(component) if component else ({}, False)
    for argument, value in node.items():
        if argument in besides:
            continue
        if argument in arguments:
            _check_value(f'{path}.{argument}', value, arguments[argument])
        elif not takes_any:
            of = f'not an argument of {_name(component)}' if component else 'not known'
            raise ConfigError(f'{path}.{argument} is {of}; {near_matches(str(argument), {*arguments, *besides})}')


def _check_value(field: str, value: Any, argument: inspect.Parameter | None) -> None:
    if argument is None or value is argument.default or fits(value, argument.annotation):
        return
    words = in_words(argument.annotation)
    raise ConfigError(f'{field} is {shortened(value)}; it must be {words or "a component: dict(type=...)"}')


def _check_count(field: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f'{field} is {shortened(value)}; it must be a whole number of at least 1')
    if value > _MAX_COUNT:
        raise ConfigError(f'{field} is {shortened(value)}; it must be at most {_MAX_COUNT:,}')


def _check_spelling(field: str, known: Iterable[str], way_out: str) -> None:
    """Refuse a name that is nearly a known one, or has its letters in another order."""
    name = field.rpartition('.')[2]
    near = difflib.get_close_matches(name, known, n=1, cutoff=_LIKENESS)
    near += [other for other in known if sorted(other) == sorted(name)]
    if near:
        raise ConfigError(f'{field} is not a field; did you mean {near[0]!r}? {way_out}')


def _name(component: Any) -> str:
    return getattr(component, '__name__', repr(component))


def _reason(error: Exception) -> str:
    """One line about an error in a config file, without the name of MMEngine's temporary copy."""
    message = f'{error.msg} (line {error.lineno})' if isinstance(error, SyntaxError) else ' '.join(str(error).split())
    return f'{type(error).__name__}: {message}'
