"""Every registry of the framework, each a child of MMEngine's registry for the same purpose.

A config names a registered class as ``type='Name'``. A registry imports its ``locations`` when it is first used,
which registers the framework's classes. A plugin registers its own in the same way::

    from motivation.registry import POLICIES

    @POLICIES.register_module()
    class MyPolicy(SwitchPolicy): ...
"""

from collections.abc import Callable
from typing import Any

from mmengine import registry as mmengine_registries
from mmengine.registry import Registry
from torch import nn

from motivation.errors import DISK_ERRORS, ArgumentError, BuildError, ConfigError, shortened

SCOPE = 'motivation'


class ComponentRegistry(Registry):
    """A registry whose errors carry the config of the component that could not be built."""

    def build(self, cfg: Any, *args: Any, **kwargs: Any) -> Any:
        """Build a component, as MMEngine's registry does.

        Raises:
            BuildError: The error of the component, with its config. Errors that need no config are raised as they are.
        """
        self.import_from_location()  # which may register a builder
        try:
            return super().build(cfg, *args, **kwargs)
        except Exception as error:  # a component may raise any exception
            if reported_as_is(error):
                raise
            node = cfg if isinstance(cfg, dict) else {}
            raise BuildError(error, node, look_up(self, node.get('type'))) from error

    def builder(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate the function that builds components, with the arguments of :func:`mmengine.registry.build_from_cfg`."""
        self.build_func = function
        return function


def reported_as_is(error: Exception) -> bool:
    """Return whether an error is raised without a config added: a complete sentence, or an error of the disk."""
    if isinstance(error, OSError):
        return error.errno in DISK_ERRORS
    return isinstance(error, ConfigError) and not isinstance(error, ArgumentError)


def look_up(registry: Registry, name: Any) -> Any:
    """Return the component of a registered name, or ``None`` if there is none; anything but a string is returned as it is."""
    if not isinstance(name, str):
        return name
    try:
        component = registry.get(name)
    except RuntimeError:  # MMEngine raises it for some invalid names, such as ''
        return None
    return component if callable(component) else None  # MMEngine also finds modules


def refuse_other_code(registry: Registry, config: Any) -> None:
    """Check that a config from a file names registered components or network layers only, at any depth.

    MMEngine imports and calls what a dotted name stands for, which in a crafted file can be any function.

    Raises:
        ConfigError: It names something else.
    """
    if isinstance(config, (list, tuple)):
        for item in config:
            refuse_other_code(registry, item)
    elif isinstance(config, dict):
        component = look_up(registry, config.get('type'))
        is_layer = isinstance(component, type) and issubclass(component, nn.Module)
        if component is not None and not is_layer and component not in _registered(registry):
            raise ConfigError(
                f'type {shortened(config["type"])} is neither a registered {registry.name} nor a layer; register it under a '
                'name if it is yours and harmless'
            )
        for item in config.values():
            refuse_other_code(registry, item)


def _registered(registry: Registry | None) -> list[Any]:
    """Return the components of a registry and of those above it."""
    return [] if registry is None else [*registry.module_dict.values(), *_registered(registry.parent)]


def _child(parent: str, *locations: str) -> ComponentRegistry:
    root = getattr(mmengine_registries, parent)
    return ComponentRegistry(root.name, parent=root, scope=SCOPE, locations=list(locations))


# The parts of the method.
MODELS = _child('MODELS', 'motivation.models')
LOSSES = ComponentRegistry('loss', scope=SCOPE, locations=['motivation.models'])
WEIGHT_MAPS = ComponentRegistry('weight map', scope=SCOPE, locations=['motivation.weight_maps'])
POLICIES = ComponentRegistry('switch policy', scope=SCOPE, locations=['motivation.policies'])

# The run.
RUNNERS = _child('RUNNERS', 'motivation.engine')
LOOPS = _child('LOOPS', 'motivation.engine')
HOOKS = _child('HOOKS', 'motivation.hooks')
OPTIMIZERS = _child('OPTIMIZERS', 'motivation.engine')
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS')
OPTIM_WRAPPER_CONSTRUCTORS = _child('OPTIM_WRAPPER_CONSTRUCTORS', 'motivation.engine')
PARAM_SCHEDULERS = _child('PARAM_SCHEDULERS', 'motivation.engine')
LOG_PROCESSORS = _child('LOG_PROCESSORS')
VISUALIZERS = _child('VISUALIZERS', 'motivation.engine')
VISBACKENDS = _child('VISBACKENDS', 'motivation.engine')

# The data and the metrics.
DATASETS = _child('DATASETS', 'motivation.datasets')
DATA_SAMPLERS = _child('DATA_SAMPLERS', 'motivation.datasets')
TRANSFORMS = _child('TRANSFORMS', 'motivation.datasets')
# Versions of random transforms that take a batch, each under the name of the transform of one image that it replaces.
BATCH_TRANSFORMS = ComponentRegistry('batch transform', scope=SCOPE, locations=['motivation.datasets'])
DATA_LOADERS = ComponentRegistry('data loader', scope=SCOPE, locations=['motivation.datasets'])
FUNCTIONS = _child('FUNCTIONS', 'motivation.datasets')
METRICS = _child('METRICS', 'motivation.evaluation')
EVALUATOR = _child('EVALUATOR')

# The formats of trained models.
EXPORTERS = ComponentRegistry('export format', scope=SCOPE, locations=['motivation.export'])

# Where the runs of a comparison are executed.
EXECUTORS = ComponentRegistry('executor', scope=SCOPE, locations=['motivation.executors'])
