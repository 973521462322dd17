"""Building the components of a config; errors name the component's field."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.registry import Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from motivation.config.nodes import nodes
from motivation.config.schema import DEFAULT_TYPES
from motivation.datasets import stream_of
from motivation.datasets.spread_sampler import SpreadSampler
from motivation.errors import ArgumentError, BuildError, ConfigError, reason, shortened
from motivation.registry import (
    DATA_LOADERS,
    DATA_SAMPLERS,
    DATASETS,
    FUNCTIONS,
    HOOKS,
    METRICS,
    look_up,
    reported_as_is,
)
from motivation.utils.arguments import arguments_of


def build(registry: Registry, node: Any, path: str, **given: Any) -> Any:
    """Build a component from a config.

    Args:
        registry: Registry of the component's type.
        node: Config of the component; anything but a dict is returned as it is.
        path: Dotted path of its field.
        **given: Arguments that are not in the config.

    Raises:
        ConfigError: The component, or a nested one, raises an error; names the field.
    """
    if not isinstance(node, dict):
        return node
    with located(path, node):
        return registry.build(node, default_args=given or None)


@contextmanager
def located(path: str, node: Any = None, fault: str = 'cannot be built') -> Iterator[None]:
    """Add the field path to every error that a component raises.

    Args:
        path: Dotted path of the component's field.
        node: Config of the component.
        fault: What went wrong, for errors that are not complete sentences. Default: ``'cannot be built'``.

    Raises:
        ConfigError: Names the field of the component, or of the nested one that raised the error.
    """
    try:
        yield
    except BuildError as error:
        inner, node = _find(error.node, node)
        path = '.'.join(part for part in (path, inner) if part)
        raise ConfigError(_sentence(error.error, path, node, fault, error.component)) from error.error
    except Exception as error:  # a component may raise any exception
        if reported_as_is(error):
            raise
        raise ConfigError(_sentence(error, path, node, fault)) from error


def build_data_loader(
    runner: Runner, node: Any, path: str, wrap: Callable[[Any], Any] = lambda data: data
) -> DataLoader:
    """Build a data loader and its dataset.

    Args:
        runner: The runner, whose seed seeds the sampler.
        node: Config of the data loader; a built one is returned as it is.
        path: Dotted path of its field.
        wrap: Wraps the dataset; by default it is used as it is.

    Raises:
        ConfigError: See :func:`build`.
    """
    if not isinstance(node, dict):
        return node
    dataset = wrap(build_dataset(node, path))
    arguments = {name: value for name, value in node.items() if name != 'type'}
    for name in ('sampler', 'batch_sampler'):  # MMEngine's own registry would not say which part an error is about
        if isinstance(node.get(name), dict):
            arguments[name] = _by_our_registry(node[name])
    batches = arguments.pop('num_batch_per_epoch', None)
    if batches is not None:  # MMEngine would cut the dataset to its first samples
        arguments['sampler'] = {'type': partial(_spread, node, batches)}
    for name in ('collate_fn', 'worker_init_fn'):  # MMEngine finds them by name only in its own registry
        function = arguments.get(name)
        if isinstance(function, dict):
            arguments[name] = {**function, 'type': look_up(FUNCTIONS, function['type'])}
    with located(path, node):
        # MMEngine would copy a built dataset, but calls a function.
        loader = runner.build_dataloader({**arguments, 'dataset': {'type': lambda: dataset}}, seed=runner.seed)
        kind = _loader_class(node)
        stream = stream_of(dataset)
        if stream is not None:
            stream.follow(loader)
        return loader if kind is DataLoader else kind.of(loader, runner.announce)


def _by_our_registry(node: dict[str, Any]) -> dict[str, Any]:
    return {'type': lambda **given: DATA_SAMPLERS.build(node, default_args=given)}


def _spread(node: dict[str, Any], batches: int, dataset: Any, seed: int) -> SpreadSampler:
    """Build the sampler of a data loader that draws some batches of an epoch only."""
    sampler = node['sampler']
    if isinstance(sampler, dict):
        sampler = DATA_SAMPLERS.build(sampler, default_args={'dataset': dataset, 'seed': seed})
    size = node.get('batch_size') or (node.get('batch_sampler') or {}).get('batch_size', 1)
    drop_last = node.get('drop_last') or (node.get('batch_sampler') or {}).get('drop_last', False)
    return SpreadSampler(sampler, batches, size, drop_last)


def build_dataset(node: dict[str, Any], path: str) -> Any:
    """Build the dataset of a data loader, as that class of loader makes it.

    A class in :data:`~motivation.registry.DATA_LOADERS` other than torch's has two methods, like those of
    :class:`~motivation.datasets.DeviceDataLoader`: ``make_dataset`` and ``of``.

    Args:
        node: Config of the data loader.
        path: Dotted path of its field.

    Raises:
        ConfigError: See :func:`build`.
    """
    kind, field = _loader_class(node), f'{path}.dataset'
    if kind is DataLoader or not isinstance(node['dataset'], dict):
        return build(DATASETS, node['dataset'], field)
    with located(field, node['dataset']):
        return kind.make_dataset(
            node['dataset'], lambda registry, part, inner: build(registry, part, '.'.join(filter(None, (field, inner))))
        )


def _loader_class(node: dict[str, Any]) -> Any:
    return look_up(DATA_LOADERS, node.get('type', DEFAULT_TYPES['train_dataloader']))


def build_evaluator(runner: Runner, node: Any, path: str) -> Evaluator:
    """Build an evaluator and its metrics.

    Args:
        runner: The runner.
        node: Config of a metric, of a list of metrics, or of an evaluator.
        path: Dotted path of its field.

    Raises:
        ConfigError: See :func:`build`.
    """
    node = copy.deepcopy(node)
    if isinstance(node, (list, tuple)):
        node = [build(METRICS, metric, f'{path}.{place}') for place, metric in enumerate(node)]
    elif isinstance(node, dict) and 'metrics' not in node:
        node = build(METRICS, node, path)
    with located(path, node):
        return runner.build_evaluator([node] if isinstance(node, BaseMetric) else node)


def build_hooks(
    default: Mapping[str, Any], custom: Sequence[Any]
) -> tuple[dict[str, Any], list[Any], list[tuple[Any, Any]]]:
    """Build the hooks of a run.

    Args:
        default: Configs of the default hooks by name, including the MotivationHook as ``'motivation'``; ``None``
            removes a hook.
        custom: Configs of the custom hooks.

    Returns:
        The default hooks by name, the custom hooks, and each hook with its config.

    Raises:
        ConfigError: See :func:`build`.
    """
    named = {
        name: _build_hook(node, name if name == 'motivation' else f'default_hooks.{name}')
        for name, node in default.items()
    }
    further = [_build_hook(node, f'custom_hooks.{place}') for place, node in enumerate(custom)]
    return named, further, list(zip([*named.values(), *further], [*default.values(), *custom], strict=True))


def _build_hook(node: Any, path: str) -> Any:
    if not isinstance(node, dict):
        return node
    hook = build(HOOKS, {name: value for name, value in node.items() if name != 'priority'}, path)
    hook.priority = node.get('priority', hook.priority)
    return hook


def _find(part: Any, root: Any) -> tuple[str, Any]:
    """Return path and config of a component below a root; ``part`` may be a copy of the config with more fields."""
    places = [(path, node) for path, node in [('', root), *nodes(root)] if isinstance(node, dict) and node]
    matches = [(path, node) for path, node in places if all(key in part and part[key] == node[key] for key in node)]
    same = [(path, node) for path, node in matches if node is part]
    return same[0] if same else max(matches, key=lambda place: len(place[1]), default=('', root))


def _sentence(error: Exception, path: str, node: Any, fault: str, component: Any = None) -> str:
    if isinstance(error, ArgumentError):
        return f'{path}.{error}'
    value = f' = {shortened(node)}' if node is not None else ''
    names = ', '.join(arguments_of(component)[0]) if component is not None else ''
    known = f'; {component.__name__} takes {names}' if names and len(names) <= 160 else ''
    return f'{path}{value} {fault}: {reason(error)}; correct it{known}'
