"""Building components from a config: the one place that knows in which field a component stands."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.registry import Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from motivation.config.nodes import nodes
from motivation.errors import DISK_ERRORS, ArgumentError, BuildError, ConfigError, reason, shortened
from motivation.registry import DATASETS, HOOKS, METRICS
from motivation.utils.arguments import arguments_of


def build(registry: Registry, node: Any, path: str, **given: Any) -> Any:
    """Build a component from a config.

    Args:
        registry: Where its type is looked up.
        node: Its config; what is built already is returned as it is.
        path: The field it stands in.
        **given: Arguments that the config does not have.

    Raises:
        ConfigError: The component, or one within it, refuses its arguments; names the field.
    """
    if not isinstance(node, dict):
        return node
    with located(path, node):
        return registry.build(node, default_args=given or None)


@contextmanager
def located(path: str, node: Any = None, fault: str = 'cannot be built') -> Iterator[None]:
    """Add the field to what a component raises.

    Args:
        path: The field that the component stands in.
        node: Its config.
        fault: What is said of it, if it raised no sentence.

    Raises:
        ConfigError: Names the field of the component, or of the one within it that could not be built.
    """
    try:
        yield
    except BuildError as error:
        inner, node = _find(error.node, node)
        path = '.'.join(part for part in (path, inner) if part)
        raise ConfigError(_sentence(error.error, path, node, fault, error.component)) from error.error
    except Exception as error:  # a component raises whatever it likes
        whole = isinstance(error, ConfigError) and not isinstance(error, ArgumentError)
        if whole or (isinstance(error, OSError) and error.errno in DISK_ERRORS):
            raise
        raise ConfigError(_sentence(error, path, node, fault)) from error


def build_data_loader(
    runner: Runner, node: Any, path: str, wrap: Callable[[Any], Any] = lambda data: data
) -> DataLoader:
    """Build a data loader and its dataset.

    Args:
        runner: The runner, whose seed the sampler has.
        node: The config; a data loader is returned as it is.
        path: The field it stands in.
        wrap: Gives the dataset that is loaded from, of the one that the config names.

    Raises:
        ConfigError: As of :func:`build`.
    """
    if not isinstance(node, dict):
        return node
    dataset = wrap(build(DATASETS, node['dataset'], f'{path}.dataset'))
    with located(path, node):
        # MMEngine copies a dataset that it is given, and calls a function.
        return runner.build_dataloader({**node, 'dataset': {'type': lambda: dataset}}, seed=runner.seed)


def build_evaluator(runner: Runner, node: Any, path: str) -> Evaluator:
    """Build the metrics of an evaluator, and it.

    Args:
        runner: The runner.
        node: The config of a metric or several, or of an evaluator.
        path: The field it stands in.

    Raises:
        ConfigError: As of :func:`build`.
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
        default: Configs by name, the MotivationHook as ``'motivation'`` among them; ``None`` removes one.
        custom: Further configs.

    Returns:
        The default hooks, the custom ones, and each hook with its config.

    Raises:
        ConfigError: As of :func:`build`.
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
    """The config below a root that a component was built from, with the path to it; it may have been copied and filled up."""
    places = [(path, node) for path, node in [('', root), *nodes(root)] if isinstance(node, dict) and node]
    alike = [(path, node) for path, node in places if all(key in part and part[key] == node[key] for key in node)]
    same = [(path, node) for path, node in alike if node is part]
    return same[0] if same else max(alike, key=lambda place: len(place[1]), default=('', root))


def _sentence(error: Exception, path: str, node: Any, fault: str, component: Any = None) -> str:
    if isinstance(error, ArgumentError):
        return f'{path}.{error}'
    value = f' = {shortened(node)}' if node is not None else ''
    names = ', '.join(arguments_of(component)[0]) if component is not None else ''
    known = f'; {component.__name__} takes {names}' if names and len(names) <= 160 else ''
    return f'{path}{value} {fault}: {reason(error)}; correct it{known}'
