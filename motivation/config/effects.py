"""Refusing values that would change nothing, or the results in silence."""

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.momentum_scheduler import MomentumSchedulerMixin

from motivation import registry as registries
from motivation.config.nodes import nodes
from motivation.config.schema import registry_of
from motivation.errors import ConfigError, shortened
from motivation.registry import look_up
from motivation.utils.arguments import arguments_of

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')

# Arguments that the run gives to the components of a registry; those of a config would replace them.
_GIVEN = {
    registries.LOOPS: ('runner', 'dataloader', 'evaluator'),
    registries.OPTIMIZERS: ('params',),
    registries.PARAM_SCHEDULERS: ('optimizer', 'last_step'),
}

# The same by field.
_GIVEN_TO_FIELDS = {
    r'\w+_dataloader\.sampler': ('dataset',),
    r'\w+_dataloader\.batch_sampler': ('sampler', 'batch_size'),
    r'model_wrapper_cfg': (
        *('module', 'device_ids', 'output_device', 'dim', 'process_group', 'device_mesh', 'check_reduction'),
        *('delay_all_reduce_named_params', 'param_to_hook_all_reduce'),
    ),
    r'env_cfg\.mp_cfg': ('distributed',),
    r'optim_wrapper(\.base|\.motivated)?\.clip_grad': ('parameters',),
    r'compile': ('model',),
    r'randomness': ('self',),
}

# Fields of a data loader without effect unless workers load the data.
_OF_WORKERS = ('persistent_workers', 'prefetch_factor', 'timeout', 'worker_init_fn', 'multiprocessing_context')

# What a config gets filled in, and a saved config therefore has.
_OUR_INIT = 'motivation.init_worker'

# Fields that concern several processes only: a config with them also trains in one.
_OF_PROCESSES = ('sync_bn', 'find_unused_parameters', 'model_wrapper_cfg')


def check_effects(plain: dict[str, Any]) -> None:
    """Check that no value of a config is without effect, or changes results in silence.

    Values that a config has because it is meant for other machines as well are accepted, see
    :func:`fields_without_effect`.

    Args:
        plain: The config, as a plain dict, with known fields only.

    Raises:
        ConfigError: A value would be ignored; names the field, its value and the fix.
    """
    for problem in (*_given(plain), *_loaders(plain), *_training(plain), *_environment(plain), *_others(plain)):
        raise ConfigError(problem)


def fields_without_effect(plain: Mapping[str, Any]) -> list[str]:
    """Return the fields of a valid config that change nothing in this run, because it is one process."""
    return [name for name in _OF_PROCESSES if plain.get(name) and get_world_size() == 1]


def _given(plain: dict[str, Any]) -> Iterator[str]:
    """Yield the problems of arguments that the run sets itself."""
    for path, node in nodes(plain):
        if not isinstance(node, dict):
            continue
        registry = registry_of(path)
        names = _GIVEN.get(registry, ()) if registry is not None else ()
        names += next((names for field, names in _GIVEN_TO_FIELDS.items() if re.fullmatch(field, path)), ())
        for name in names:
            if name in node:
                yield f'{path}.{name} is {shortened(node[name])}, and the run sets it: leave it out'
        kind = look_up(registry, node.get('type')) if registry is registries.PARAM_SCHEDULERS and names else None
        fixed = isinstance(kind, type) and issubclass(kind, (LRSchedulerMixin, MomentumSchedulerMixin))
        if fixed and 'param_name' in node:
            yield f'{path}.param_name is {shortened(node["param_name"])}, and {node["type"]} sets it: leave it out'
    precision = (plain.get('model_wrapper_cfg') or {}).get('mixed_precision')
    if precision is not None:
        yield f"model_wrapper_cfg.mixed_precision is {shortened(precision)}; write model.precision='bf16' instead"


def _loaders(plain: dict[str, Any]) -> Iterator[str]:
    for loader in _LOADERS:
        node = plain.get(loader) or {}
        for name in _OF_WORKERS if not node.get('num_workers') else ():
            value = node.get(name)
            if value and not (name == 'worker_init_fn' and _type(value) == _OUR_INIT):
                yield f'{loader}.{name} is {shortened(value)}, which needs num_workers of at least 1'
        if node.get('in_order') is False:
            yield (
                f'{loader}.in_order is False, with which batches come in the order in which workers happen to finish, and no '
                'run could be repeated or resumed: leave it out'
            )
        if node.get('shuffle') is not None:
            yield (
                f'{loader}.shuffle is {shortened(node["shuffle"])}, and the sampler decides on the order: leave it out, and '
                f"write sampler=dict(type='DefaultSampler', shuffle={bool(node['shuffle'])})"
            )
        for name in ('generator', 'pin_memory_device'):
            if node.get(name):
                way_out = {
                    'generator': 'random numbers come from randomness.seed',
                    'pin_memory_device': 'torch ignores it, and pins memory for the device of the run',
                }
                yield f'{loader}.{name} is {shortened(node[name])}, but {way_out[name]}: leave it out'
        yield from _dropped(loader, node)


def _dropped(loader: str, node: dict[str, Any]) -> Iterator[str]:
    """Yield what makes a data loader leave out or repeat samples unasked."""
    for place in ('', 'batch_sampler.'):
        part = node if not place else node.get('batch_sampler')
        if not loader.startswith('train') and isinstance(part, dict) and part.get('drop_last'):
            yield f'{loader}.{place}drop_last is True, which would leave the last images out of every score: leave it out'
    sampler = node.get('sampler')
    kind = look_up(registries.DATA_SAMPLERS, _type(sampler)) if isinstance(sampler, dict) else type(sampler)
    if not loader.startswith('train') and getattr(kind, 'is_for_training', False):
        yield (
            f'{loader}.sampler is {kind.__name__}, which draws some images more often than others, and a score needs each once: '
            "write sampler=dict(type='DefaultSampler', shuffle=False)"
        )
    if isinstance(sampler, dict) and sampler.get('round_up') is False and get_world_size() > 1:
        yield (
            f'{loader}.sampler.round_up is False, with which {get_world_size()} processes have different numbers of batches: '
            'leave it out'
        )


def _training(plain: dict[str, Any]) -> Iterator[str]:
    loop = plain.get('train_cfg') or {}
    for name in ('val_begin', 'val_interval') if plain.get('val_cfg') is None else ():
        if loop.get(name, 1) != 1:
            yield (
                f'train_cfg.{name} is {shortened(loop[name])}, and the run has no validation: leave it out, or give val_cfg, '
                'val_dataloader and val_evaluator'
            )
    scaling = plain.get('auto_scale_lr') or {}
    if scaling and 'enable' not in scaling:
        yield (
            f'auto_scale_lr is {shortened(scaling)}, which scales nothing without enable: write enable=True, or enable=False '
            'to keep it for later'
        )
    for part in ('', '.base', '.motivated'):
        wrapper = plain.get('optim_wrapper') or {}
        clip = (wrapper.get(part[1:]) or {} if part else wrapper).get('clip_grad')
        if isinstance(clip, dict):
            yield from _clipping(f'optim_wrapper{part}.clip_grad', clip)


def _clipping(field: str, clip: dict[str, Any]) -> Iterator[str]:
    kind = clip.get('type', 'norm')
    known = {'norm': ('max_norm', 'norm_type', 'error_if_nonfinite', 'foreach'), 'value': ('clip_value', 'foreach')}
    for name in clip.keys() - {'type', *known[kind]} if kind in known else ():
        yield f'{field}.{name} is {shortened(clip[name])}, which clipping by {kind} does not take: leave it out'


def _environment(plain: dict[str, Any]) -> Iterator[str]:
    environment = plain.get('env_cfg') or {}
    if environment.get('cudnn_benchmark') and (plain.get('randomness') or {}).get('deterministic'):
        yield (
            'env_cfg.cudnn_benchmark is True, and randomness.deterministic, which is True, switches it off: leave one of them '
            'out'
        )
    limit = environment.get('resource_limit')
    if limit is not None and sys.platform != 'win32':
        import resource  # Windows has none

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if hard != resource.RLIM_INFINITY and limit > hard:
            yield f'env_cfg.resource_limit is {limit:,}, and this machine allows at most {hard:,} open files: lower it'
    compile = plain.get('compile')
    if isinstance(compile, dict) and compile.get('disable'):
        yield f'compile.disable is {shortened(compile["disable"])}: leave compile out instead'


def _others(plain: dict[str, Any]) -> Iterator[str]:
    hooks = {f'default_hooks.{name}': hook for name, hook in (plain.get('default_hooks') or {}).items()}
    hooks |= {f'custom_hooks.{place}': hook for place, hook in enumerate(plain.get('custom_hooks') or ())}
    for path, hook in hooks.items():
        if not isinstance(hook, dict) or hook.get('out_dir'):
            continue
        kind = look_up(registries.HOOKS, hook.get('type'))
        arguments = arguments_of(kind)[0] if callable(kind) else {}
        for name in ('out_suffix', 'keep_local', 'backend_args', 'file_client_args') if 'out_dir' in arguments else ():
            if name in hook and name in arguments and hook[name] != arguments[name].default:
                yield f'{path}.{name} is {shortened(hook[name])}, which needs out_dir: give it, or leave both out'


def _type(node: Any) -> Any:
    return node.get('type') if isinstance(node, dict) else node
