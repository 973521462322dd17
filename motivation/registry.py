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

SCOPE = 'motivation'


def _child(parent: str, *locations: str, build_func: Callable[..., Any] | None = None) -> Registry:
    root = getattr(mmengine_registries, parent)
    return Registry(root.name, build_func, parent=root, scope=SCOPE, locations=list(locations))


def _build_transform(cfg: Any, registry: Registry, **kwargs: Any) -> Any:
    from motivation.datasets.transforms import build_transform  # which registers transforms here

    return build_transform(cfg, registry, **kwargs)


# The parts of the method.
MODELS = _child('MODELS', 'motivation.models')
WEIGHT_MAPS = Registry('weight map', scope=SCOPE, locations=['motivation.weight_maps'])
POLICIES = Registry('switch policy', scope=SCOPE, locations=['motivation.policies'])

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
TRANSFORMS = _child('TRANSFORMS', 'motivation.datasets', build_func=_build_transform)
FUNCTIONS = _child('FUNCTIONS', 'motivation.datasets')
METRICS = _child('METRICS', 'motivation.evaluation')
EVALUATOR = _child('EVALUATOR')
