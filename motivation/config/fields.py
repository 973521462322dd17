"""Top-level fields of a config: those of MMEngine's runner that hold here, and those that are refused."""

import inspect
from typing import Any, Literal

from mmengine.dist import get_world_size
from mmengine.runner import Runner

from motivation.config.signatures import arguments_of
from motivation.errors import ConfigError, shortened


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
) -> None:
    """Fields that are no arguments of MMEngine's runner, with their types; it reads them from the config itself."""


def known_fields() -> dict[str, inspect.Parameter]:
    """Every top-level field, with its type and default."""
    fields = {**arguments_of(Runner)[0], **arguments_of(_further_fields)[0]}
    fields.pop('cfg')  # the config itself; of that name it is a helper variable
    return fields


# Fields of MMEngine's runner that do nothing here, or nothing right: why, and the way out.
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
    """Refuse fields of MMEngine's runner that would be read by nobody, or do harm.

    Args:
        plain: A config, as a plain dict.

    Raises:
        ConfigError: Names the field, its value and the way out.
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
            'torchrun --standalone --nproc-per-node <number> tools/train.py'
        )
    wrapper = plain.get('model_wrapper_cfg') or {}
    kind = wrapper.get('type', 'MMDistributedDataParallel')
    if kind != 'MMDistributedDataParallel':
        raise ConfigError(
            f'model_wrapper_cfg.type is {shortened(kind)}; each model is wrapped in MMDistributedDataParallel: leave it out'
        )
    for name in ('module', 'device_ids', 'output_device'):
        if name in wrapper:
            raise ConfigError(f'model_wrapper_cfg.{name} is {shortened(wrapper[name])}; the run sets it: leave it out')
    unused = plain.get('find_unused_parameters')
    if unused is not None and wrapper.get('find_unused_parameters', unused) != unused:
        raise ConfigError(
            f'find_unused_parameters is {unused}, and model_wrapper_cfg.find_unused_parameters is '
            f'{wrapper["find_unused_parameters"]}; give one of them'
        )
