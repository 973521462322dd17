"""Every registry of the framework, each a child of MMEngine's registry of the same purpose.

A config names a registered class as ``type='Name'``; ``locations`` are imported when a registry is
first asked, which registers what the framework brings. A plugin registers its own the same way::

    from motivation.registry import POLICIES

    @POLICIES.register_module()
    class MyPolicy(SwitchPolicy): ...
"""

from collections.abc import Callable
from typing import Any

from mmengine import registry as mmengine_registries
from mmengine.registry import Registry

from motivation.errors import DISK_ERRORS, ArgumentError, BuildError, ConfigError

SCOPE = 'motivation'


class ComponentRegistry(Registry):
    """A registry that says of what cannot be built which config it was to be built from."""

    def build(self, cfg: Any, *args: Any, **kwargs: Any) -> Any:
        """As MMEngine's.

        Raises:
            ConfigError: What the component raised, with its config; a whole sentence of its own stays as it is.
        """
        self.import_from_location()  # which may bring a builder
        try:
            return super().build(cfg, *args, **kwargs)
        except Exception as error:  # a component raises whatever it likes
            whole = isinstance(error, ConfigError) and not isinstance(error, ArgumentError)
            if whole or (isinstance(error, OSError) and error.errno in DISK_ERRORS):
                raise
            node = cfg if isinstance(cfg, dict) else {}
            raise BuildError(error, node, look_up(self, node.get('type'))) from error

    def builder(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Let a function build what is registered; it takes what :func:`mmengine.registry.build_from_cfg` does."""
        self.build_func = function
        return function


def look_up(registry: Registry, name: Any) -> Any:
    """The component of a registered name, ``None`` if there is none; what is no name is the component itself."""
    if not isinstance(name, str):
        return name
    try:
        found = registry.get(name)
    except RuntimeError:  # MMEngine's word for some names that cannot be, such as ''
        return None
    return found if callable(found) else None  # MMEngine takes the name of a module for a component, too


def _child(parent: str, *locations: str) -> ComponentRegistry:
    root = getattr(mmengine_registries, parent)
    return ComponentRegistry(root.name, parent=root, scope=SCOPE, locations=list(locations))


# The parts of the method.
MODELS = _child('MODELS', 'motivation.models')
WEIGHT_MAPS = ComponentRegistry('weight map', scope=SCOPE, locations=['motivation.weight_maps'])
POLICIES = ComponentRegistry('switch policy', scope=SCOPE, locations=['motivation.policies'])

# The run.
RUNNERS = _child('RUNNERS', 'motivation.engine')
LOOPS = _child('LOOPS', 'motivation.engine')
HOOKS = _child('HOOKS', 'motivation.hooks')
OPTIMIZERS = _child('OPTIMIZERS')
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS')
OPTIM_WRAPPER_CONSTRUCTORS = _child('OPTIM_WRAPPER_CONSTRUCTORS', 'motivation.engine')
PARAM_SCHEDULERS = _child('PARAM_SCHEDULERS')
LOG_PROCESSORS = _child('LOG_PROCESSORS')
VISUALIZERS = _child('VISUALIZERS', 'motivation.engine')
VISBACKENDS = _child('VISBACKENDS')

# The data and what is measured on it.
DATASETS = _child('DATASETS', 'motivation.datasets')
DATA_SAMPLERS = _child('DATA_SAMPLERS')
TRANSFORMS = _child('TRANSFORMS', 'motivation.datasets')
FUNCTIONS = _child('FUNCTIONS', 'motivation.datasets')
METRICS = _child('METRICS', 'motivation.evaluation')
EVALUATOR = _child('EVALUATOR')
