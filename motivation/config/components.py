"""Finding what the components of a config name that does not exist, and arguments that they do not take or lack."""

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from mmengine.dataset import BaseDataset, ClassBalancedDataset, InfiniteSampler
from mmengine.hooks import CheckpointHook
from mmengine.registry import Registry
from mmengine.runner import Priority, Runner
from mmengine.utils import import_modules_from_strings
from mmengine.utils.dl_utils import set_multi_processing
from timm.data import Mixup
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader

from motivation import registry as registries
from motivation.config.signatures import arguments_of, fits, in_words
from motivation.datasets.transforms import REFUSED, UNTYPED, from_plain
from motivation.errors import ConfigError, near_matches, shortened

# A dataset, also one that another is made of.
_DATASET = r'(train|val|test)_dataloader\.dataset(\.dataset|\.datasets\.\d+)*'

# Which registry the `type` of a field is looked up in, by the field's path.
REGISTRY_OF = [
    (r'(model|model\.base|model\.motivated)', registries.MODELS),
    (r'model\.weight_map', registries.WEIGHT_MAPS),
    (r'motivation', registries.HOOKS),
    (r'motivation\.policy(\.policy|\.policies\.\d+)*', registries.POLICIES),
    (r'(train|val|test)_cfg', registries.LOOPS),
    (_DATASET, registries.DATASETS),
    (_DATASET + r'(\.transforms\.\d+)+', registries.TRANSFORMS),
    (r'(train|val|test)_dataloader\.(sampler|batch_sampler)', registries.DATA_SAMPLERS),
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
    (r'(train|val|test)_dataloader', DataLoader, ('num_batch_per_epoch',)),
    (r'optim_wrapper(\.base|\.motivated)?\.clip_grad', clip_grad_norm_, ('type', 'clip_value')),
    (r'randomness', Runner.set_randomness, ()),
    (r'model_wrapper_cfg', DistributedDataParallel, ('type', 'detect_anomalous_params')),
    (r'compile', torch.compile, ()),
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

# How like a known name another must be to be a misspelling of it: 'modl' is, 'train_loader' is a name of its own.
_LIKENESS = 0.87

_MMENGINE_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
_LOOPS = {'train_cfg': 'DualTrainLoop', 'val_cfg': 'DualValLoop', 'test_cfg': 'DualTestLoop'}
_CONSTRUCTOR = 'DualOptimWrapperConstructor'

# Components that get all their arguments from the config.
_SELF_CONTAINED = (registries.MODELS, registries.POLICIES, registries.DATASETS, registries.TRANSFORMS, registries.HOOKS)

# What a schedule divides by.
_PERIODS = {'T_max', 'step_size', 'total_steps'}

# What MMEngine's schedulers take for the end of time.
_MAX_COUNT = 10**9


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
    for name, loop in _LOOPS.items():
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
            check_spelling(
                f'default_hooks.{hook}', {*_MMENGINE_HOOKS, *hooks[:index]}, 'mend it, or give it another name'
            )
    for path, node in nodes(plain, ''):
        for pattern, function, besides in _ARGUMENTS_OF:
            if re.fullmatch(pattern, path) and node is not None and not isinstance(node, bool):
                _check_arguments(path, node, function, besides)
        for pattern, registry in REGISTRY_OF:
            several = isinstance(node, (list, tuple)) and re.fullmatch(pattern, f'{path}.0')
            if re.fullmatch(pattern, path) and not several:
                _check_component(path, node, registry)


def components(plain: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Every registered component that a config names.

    Args:
        plain: A config, as a plain dict.

    Yields:
        The dotted path, the component's config, and the class or function.
    """
    for path, node in nodes(plain, ''):
        if isinstance(node, dict) and 'type' in node:
            for pattern, registry in REGISTRY_OF:
                if re.fullmatch(pattern, path):
                    name = node['type']
                    yield path, node, look_up(registry, name) if isinstance(name, str) else name


def _fill_up_optim_wrapper(wrapper: dict[str, Any]) -> None:
    """Give the wrapper its default type, and what holds for one model the types of what it overrides."""
    wrapper.setdefault('type', 'OptimWrapper')
    optimizer = wrapper.get('optimizer')
    for own in (wrapper.get('base'), wrapper.get('motivated')):
        if isinstance(own, dict):
            own.setdefault('type', wrapper['type'])
            if isinstance(own.get('optimizer'), dict) and isinstance(optimizer, dict) and 'type' in optimizer:
                own['optimizer'].setdefault('type', optimizer['type'])


def nodes(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Everything below a node, with the dotted path to it."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, child in children:
        place = f'{path}.{key}' if path else str(key)
        yield place, child
        yield from nodes(child, place)


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
    component = look_up(registry, name) if isinstance(name, str) else name
    if component is None:
        known = set(registry.module_dict) | set(registry.parent.module_dict if registry.parent else ())
        known = {other for other in known if not _misplaced(registry, path, look_up(registry, other))}
        raise ConfigError(f'{path}.type is {shortened(name)}, which is not registered; {near_matches(name, known)}')
    if registry is registries.OPTIM_WRAPPERS and node.get('constructor', _CONSTRUCTOR) != _CONSTRUCTOR:
        return  # another constructor may take anything
    if registry is registries.TRANSFORMS:
        node = _check_transform(path, node, component)
    if registry is registries.DATASETS:
        _check_wrapper(path, node, component)
    _check_arguments(path, node, component, ('type', '_scope_', *_BESIDES.get(registry, ())))
    misplaced = _misplaced(registry, path, component)
    if misplaced:
        raise ConfigError(f'{path}.type is {shortened(name)}{misplaced}')
    if registry is registries.PARAM_SCHEDULERS:
        if isinstance(node.get('begin'), int) and node['begin'] < 0:
            raise ConfigError(f'{path}.begin is {node["begin"]}; it must be at least 0')
        for argument in _PERIODS & node.keys():
            if node[argument] is not None:
                check_count(f'{path}.{argument}', node[argument])
    if registry is registries.HOOKS and 'priority' in node:
        _check_priority(f'{path}.priority', node['priority'])
    if registry in _SELF_CONTAINED:
        for argument, parameter in arguments_of(component)[0].items():
            if parameter.default is parameter.empty and argument not in node:
                raise ConfigError(f'{path}.{argument} is missing; {_name(component)} needs it')


def _misplaced(registry: Registry, path: str, component: Any) -> str:
    """Why a registered component cannot stand at a place, and the way out; ``''`` if it can."""
    if registry is registries.LOOPS and not _is_below(component, look_up(registry, _LOOPS[path])):
        return f'; it must be {_LOOPS[path]} or a class of your own below it'
    if _is_below(component, InfiniteSampler):  # for training by iterations
        sampler = f"dict(type='DefaultSampler', shuffle={path.startswith('train')})"
        return f', which never ends, and training and evaluation go by epochs; write {sampler}'
    if _is_below(component, CheckpointHook):
        best = "default_hooks.export.save_best='accuracy/top1'"
        return f', from whose files no run goes on exactly; write DualCheckpointHook, and for the best models {best}'
    return ''


def _is_below(component: Any, kind: type) -> bool:
    return isinstance(component, type) and issubclass(component, kind)


def _check_transform(path: str, node: dict[str, Any], component: Any) -> dict[str, Any]:
    """Refuse a transform of something else than one image; returns the config with objects for their plain values."""
    if component in REFUSED:
        raise ConfigError(f'{path}.type is {shortened(node["type"])}, which {REFUSED[component]}')
    arguments, _ = arguments_of(component)
    annotations = {name: parameter.annotation for name, parameter in arguments.items()}
    return {
        key: from_plain(value, annotations.get(key)) for key, value in node.items() if (component, key) not in UNTYPED
    }


def _check_wrapper(path: str, node: dict[str, Any], component: Any) -> None:
    """Refuse MMEngine's wrappers around datasets that are not below its own."""
    if getattr(component, '__module__', '') != ClassBalancedDataset.__module__:
        return
    for name in ('dataset', 'datasets'):
        for inner in node[name] if isinstance(node.get(name), (list, tuple)) else [node.get(name)]:
            kind = inner.get('type') if isinstance(inner, dict) else None
            kind = look_up(registries.DATASETS, kind) if isinstance(kind, str) else kind
            if isinstance(kind, type) and not issubclass(kind, BaseDataset):
                raise ConfigError(
                    f"{path}.type is {shortened(node['type'])}, which takes only datasets below MMEngine's BaseDataset, and "
                    f'{kind.__name__} is none; there are ConcatDataset and RepeatDataset for any'
                )


def _check_priority(field: str, value: Any) -> None:
    names = Priority.__members__
    if isinstance(value, str) and value.upper() not in names:
        raise ConfigError(f'{field} is {value!r}; {near_matches(value.upper(), names)}')
    if not isinstance(value, (str, int, Priority)) or (isinstance(value, int) and not 0 <= value <= 100):
        raise ConfigError(
            f'{field} is {shortened(value)}; it must be one of {", ".join(names)} or a number of 0 to 100'
        )


def look_up(registry: Registry, name: str) -> Any:
    """The component of a registered name, ``None`` if there is none."""
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
            check_value(f'{path}.{argument}', value, arguments[argument])
        elif not takes_any:
            of = f'not an argument of {_name(component)}' if component else 'not known'
            known = {one for one in (*arguments, *besides) if not one.startswith('_')}
            raise ConfigError(f'{path}.{argument} is {of}; {near_matches(str(argument), known)}')


def check_value(field: str, value: Any, argument: inspect.Parameter | None) -> None:
    """Refuse a value that its argument does not take."""
    if argument is None or value is argument.default or fits(value, argument.annotation):
        return
    words = in_words(argument.annotation)
    raise ConfigError(f'{field} is {shortened(value)}; it must be {words or "a component: dict(type=...)"}')


def check_count(field: str, value: Any) -> None:
    """Refuse what is no whole number from 1 to a thousand million."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f'{field} is {shortened(value)}; it must be a whole number of at least 1')
    if value > _MAX_COUNT:
        raise ConfigError(f'{field} is {shortened(value)}; it must be at most {_MAX_COUNT:,}')


def check_spelling(field: str, known: Iterable[str], way_out: str) -> None:
    """Refuse a name that is nearly a known one, or has its letters in another order."""
    name = field.rpartition('.')[2]
    near = difflib.get_close_matches(name, known, n=1, cutoff=_LIKENESS)
    near += [other for other in known if sorted(other) == sorted(name)]
    if near:
        raise ConfigError(f'{field} is not a field; did you mean {near[0]!r}? {way_out}')


def _name(component: Any) -> str:
    return getattr(component, '__name__', repr(component))
