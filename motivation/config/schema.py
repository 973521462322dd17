"""The fields of a config: their registries, types, bounds and defaults, and MMEngine's fields that are not supported."""

import inspect
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt
from mmengine.dist import get_world_size
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from mmengine.utils.dl_utils import set_multi_processing
from timm.data import Mixup
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from motivation import registry as registries
from motivation.config.claims import Claim
from motivation.config.comparison_plan import ComparisonPlan
from motivation.errors import ConfigError, shortened
from motivation.models.distillation import Distillation
from motivation.utils.arguments import arguments_of

# A dataset, or one inside another.
_DATASET = r'(train|val|test)_dataloader\.dataset(\.dataset|\.datasets\.\d+)*'

# Registry of the `type` of a field, by the field's path.
_REGISTRIES = {
    r'(model|model\.base|model\.motivated)': registries.MODELS,
    r'model\.(base|motivated)\.loss': registries.LOSSES,
    r'model\.weight_map': registries.WEIGHT_MAPS,
    r'motivation': registries.HOOKS,
    r'motivation\.policy(\.policy|\.policies\.\d+)*': registries.POLICIES,
    r'(train|val|test)_cfg': registries.LOOPS,
    r'(train|val|test)_dataloader': registries.DATA_LOADERS,
    _DATASET: registries.DATASETS,
    _DATASET + r'(\.transforms\.\d+)+': registries.TRANSFORMS,
    r'(train|val|test)_dataloader\.(sampler|batch_sampler)': registries.DATA_SAMPLERS,
    r'(train|val|test)_dataloader\.(collate_fn|worker_init_fn)': registries.FUNCTIONS,
    r'(val|test)_evaluator(\.\d+)?': registries.METRICS,
    r'optim_wrapper(\.base|\.motivated)?': registries.OPTIM_WRAPPERS,
    r'optim_wrapper(\.base|\.motivated)?\.optimizer': registries.OPTIMIZERS,
    r'param_scheduler(\.base|\.motivated)?(\.\d+)?': registries.PARAM_SCHEDULERS,
    r'default_hooks\.\w+|custom_hooks\.\d+': registries.HOOKS,
    r'log_processor': registries.LOG_PROCESSORS,
    r'visualizer': registries.VISUALIZERS,
    r'visualizer\.vis_backends\.\d+': registries.VISBACKENDS,
}

# Fields that hold the arguments of an unregistered class or function, with it and the names of further fields.
_FUNCTIONS: dict[str, tuple[Callable[..., Any] | None, tuple[str, ...]]] = {
    r'optim_wrapper(\.base|\.motivated)?\.clip_grad': (
        clip_grad_norm_,
        ('type', 'clip_value', 'clip_factor', 'eps', 'exclude'),  # of one type each: engine.clipping checks them
    ),
    r'randomness': (Runner.set_randomness, ()),
    r'model_wrapper_cfg': (DistributedDataParallel, ('type', 'detect_anomalous_params')),
    r'compile': (torch.compile, ()),
    r'env_cfg': (None, ('cudnn_benchmark', 'tf32', 'mp_cfg', 'dist_cfg', 'resource_limit')),
    r'env_cfg\.mp_cfg': (set_multi_processing, ()),
    r'auto_scale_lr': (None, ('enable', 'base_batch_size', 'rule')),
    r'custom_imports': (import_modules_from_strings, ()),
    r'comparison': (ComparisonPlan, ()),
    r'comparison\.claims\.\d+': (Claim, ()),
    r'model\.(base|motivated)\.mixup': (Mixup, ()),
    r'model\.distillation': (Distillation, ()),
}

# Fields that hold a part of a component, or several components by name.
PARTIAL = r'optim_wrapper\.(base|motivated)(\.optimizer)?|param_scheduler|(val|test)_evaluator'

# Fields that a component's config may have besides its arguments.
BESIDES = {
    registries.OPTIM_WRAPPERS: ('constructor', 'paramwise_cfg', 'accumulate', 'base', 'motivated'),
    registries.PARAM_SCHEDULERS: ('convert_to_iter_based',),
    registries.HOOKS: ('priority',),
    registries.DATA_LOADERS: ('num_batch_per_epoch',),
    registries.VISBACKENDS: ('name',),
}

# The default type of a component, by its field.
DEFAULT_TYPES = {
    'model.weight_map': 'AutoMap',
    'motivation': 'MotivationHook',
    'train_cfg': 'DualTrainLoop',
    'val_cfg': 'DualValLoop',
    'test_cfg': 'DualTestLoop',
    'train_dataloader': 'DataLoader',
    'val_dataloader': 'DataLoader',
    'test_dataloader': 'DataLoader',
    'log_processor': 'LogProcessor',
    'optim_wrapper': 'OptimWrapper',
}

# MMEngine's default hooks, which a config removes with None.
MMENGINE_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')

# MMEngine's schedulers use 10**9 for an end that never comes; more than 256 workers would overload a machine.
_Number = Annotated[int, Ge(1), Le(10**9)]
_Processes = Annotated[int, Ge(0), Le(256)]

# Types and bounds that the signatures of other libraries lack.
_BOUNDS: dict[str, Any] = {
    r'train_cfg\.(max_epochs|val_interval)|log_processor\.window_size|auto_scale_lr\.base_batch_size': _Number,
    r'(train|val|test)_dataloader\.batch_size': _Number,
    r'(train|val|test)_dataloader\.num_workers': _Processes,
    r'(train|val|test)_dataloader\.(prefetch_factor|num_batch_per_epoch)': _Number | None,
    r'(train|val|test)_dataloader\.timeout': Annotated[float, Ge(0)],
    r'randomness\.seed': Annotated[int, Ge(0), Lt(2**32)] | None,
    r'optim_wrapper(\.base|\.motivated)?\.clip_grad\.max_norm': Annotated[float, Gt(0)],
    r'auto_scale_lr\.rule': Literal['linear', 'sqrt'],
    r'env_cfg\.(cudnn_benchmark|tf32)|auto_scale_lr\.enable': bool,
    r'env_cfg\.resource_limit': _Number,
    r'env_cfg\.mp_cfg\.mp_start_method': Literal['fork', 'spawn', 'forkserver'],
    r'env_cfg\.mp_cfg\.opencv_num_threads': Annotated[int, Ge(0)],
    r'param_scheduler(\.base|\.motivated)?(\.\d+)?\.begin': Annotated[int, Ge(0)],
    r'param_scheduler(\.base|\.motivated)?(\.\d+)?\.(T_max|step_size|total_steps)': _Number | None,
}


@lru_cache(maxsize=8192)  # matching patterns takes most of the time of checking a config
def registry_of(path: str) -> Registry | None:
    """Return the registry of the component in a field, or ``None`` if it holds none."""
    return next((registry for pattern, registry in _REGISTRIES.items() if re.fullmatch(pattern, path)), None)


@lru_cache(maxsize=8192)
def function_of(path: str) -> tuple[Callable[..., Any] | None, tuple[str, ...]] | None:
    """Return the function whose arguments a field holds and its further names, or ``None`` if there is none."""
    return next((function for pattern, function in _FUNCTIONS.items() if re.fullmatch(pattern, path)), None)


@lru_cache(maxsize=8192)
def bounds_of(path: str) -> inspect.Parameter | None:
    """Return type and bounds of a field as a parameter, or ``None`` if a signature has them."""
    bounds = next((kind for pattern, kind in _BOUNDS.items() if re.fullmatch(pattern, path)), None)
    keyword = inspect.Parameter.KEYWORD_ONLY
    return None if bounds is None else inspect.Parameter('value', keyword, annotation=bounds)


def _further_fields(
    motivation: Any = None,
    runner_type: Any = None,
    custom_imports: Any = None,
    model_wrapper_cfg: dict[str, Any] | None = None,
    sync_bn: Literal['torch'] | None = None,
    find_unused_parameters: bool = False,
    compile: bool | dict[str, Any] | None = None,
    activation_checkpointing: Any = None,
    efficient_conv_bn_eval: Any = None,
    comparison: dict[str, Any] | None = None,
) -> None:
    """Declare the types of fields that are not arguments of MMEngine's runner, but are read from the config."""


def known_fields() -> dict[str, inspect.Parameter]:
    """Return every top-level field, with its type and default."""
    fields = {**arguments_of(Runner)[0], **arguments_of(_further_fields)[0]}
    fields.pop('cfg')  # the config itself
    return fields


# Fields of MMEngine's runner that are not supported: why, and what to do instead.
_REFUSED = {
    'activation_checkpointing': 'the forward passes it repeats would not be counted as compute; leave it out, and where '
    'memory is short lower train_dataloader.batch_size',
    'efficient_conv_bn_eval': "it replaces the models' forward pass by one that weight maps and counting do not see; "
    'leave it out',
    'data_preprocessor': 'each model has its own; leave it out, and give mean and std to model.base and model.motivated',
    'env_cfg.dist_cfg': 'processes join before the config is read, by NCCL on GPUs and gloo on CPUs; leave it out',
    'randomness.diff_rank_seed': 'processes decide alike because they share a seed, and augment differently in any case; '
    'leave it out',
}


def refuse_fields(plain: dict[str, Any]) -> None:
    """Check that a config has none of MMEngine's fields that would be ignored or do harm.

    Args:
        plain: The config, as a plain dict.

    Raises:
        ConfigError: A field is not supported; names the field, its value and the fix.
    """
    for field, why in _REFUSED.items():
        part, _, name = field.partition('.')
        value = plain.get(part)
        if name:
            value = value.get(name) if isinstance(value, dict) else None
        if value:
            raise ConfigError(f'{field} is {shortened(value)}, which is not supported: {why}')
    launcher = plain.get('launcher', 'none')
    if launcher not in ('none', 'pytorch') or (launcher == 'pytorch' and get_world_size() == 1):
        raise ConfigError(
            f'launcher is {shortened(launcher)}, and a config starts no processes; leave it out, and start them with '
            'torchrun --standalone --nproc-per-node <number> -m motivation train'
        )
    wrapper = plain.get('model_wrapper_cfg') or {}
    kind = wrapper.get('type', 'MMDistributedDataParallel')
    if kind != 'MMDistributedDataParallel':
        raise ConfigError(
            f'model_wrapper_cfg.type is {shortened(kind)}; each model is wrapped in MMDistributedDataParallel: leave it out'
        )
    unused = plain.get('find_unused_parameters')
    if unused is not None and wrapper.get('find_unused_parameters', unused) != unused:
        raise ConfigError(
            f'find_unused_parameters is {unused}, and model_wrapper_cfg.find_unused_parameters is '
            f'{wrapper["find_unused_parameters"]}; give one of them'
        )
