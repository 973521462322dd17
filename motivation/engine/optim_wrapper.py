"""The constructor of the optimizer wrappers of both models."""

import copy
from typing import Any

from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper, ApexOptimWrapper, OptimWrapper, OptimWrapperDict, build_optim_wrapper
from torch import nn

from motivation.engine.exchanging import ExchangingOptimWrapper, exchanging
from motivation.engine.step import StepExchange
from motivation.errors import ArgumentError, ConfigError, near_matches, shortened
from motivation.models import DualModel
from motivation.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS, look_up
from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.arguments import arguments_of

_FIELD = 'optim_wrapper.paramwise_cfg'
_DEFAULT = 'DefaultOptimWrapperConstructor'

# Parameter-wise options that MMEngine reads; it ignores all others.
_PARAMWISE = (
    *('custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'flat_decay_mult'),
    *('dwconv_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate'),
)
_OF_A_KEY = ('lr_mult', 'decay_mult')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DualOptimWrapperConstructor:
    """Builds one optimizer wrapper for the base and one for the motivated model.

    Both are built from the same fields; fields under ``base`` or ``motivated`` override them for that model.

    Args:
        optim_wrapper_cfg: Config of an optimizer wrapper, with optional ``base`` and ``motivated``.
        paramwise_cfg: MMEngine's parameter-wise options, for both models.

    The further field ``accumulate`` is the number of micro-batches, at least 1 (default), that each batch of the data
    loader is split into; their gradients add up to one step, with the memory of one micro-batch. Apart from dropout and
    batch statistics it trains as one pass would.

    Raises:
        ConfigError: ``accumulate`` is below 1; ``accumulative_counts`` is not 1 (a switch between two accumulated
            batches would leave half a gradient behind); the wrapper is one of MMEngine's or Apex's mixed precision; or
            a parameter-wise option is unknown or matches no parameter.

    Example:
        >>> optim_wrapper = dict(
        ...     optimizer=dict(type='SGD', lr=0.1, momentum=0.9),
        ...     motivated=dict(optimizer=dict(lr=0.05), accumulate=2))
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        shared = {key: value for key, value in optim_wrapper_cfg.items() if key not in MODEL_NAMES}
        shared.setdefault('type', 'OptimWrapper')
        if paramwise_cfg is not None:
            shared['paramwise_cfg'] = paramwise_cfg
        self.configs = {}
        self._accumulate: dict[ModelName, int] = {}
        self._split_apart = {name for name in MODEL_NAMES if 'accumulate' in optim_wrapper_cfg.get(name, {})}
        for name in MODEL_NAMES:
            config = Config(copy.deepcopy(shared))
            config.merge_from_dict(optim_wrapper_cfg.get(name, {}))
            if config.get('accumulative_counts', 1) != 1:
                raise ConfigError(
                    f'optim_wrapper.accumulative_counts must be 1, got {config.accumulative_counts}, '
                    'because the models switch after every batch: raise train_dataloader.batch_size by that factor, and '
                    'write optim_wrapper.accumulate instead'
                )
            self._accumulate[name] = config._cfg_dict.pop('accumulate', 1)
            cls = look_up(OPTIM_WRAPPERS, config.type)
            if isinstance(cls, type) and issubclass(cls, (AmpOptimWrapper, ApexOptimWrapper)):
                raise ConfigError(
                    f'optim_wrapper.type is {config.type!r}, which would leave validation in single precision; write '
                    "model.precision='fp16' or 'bf16' instead"
                )
            if isinstance(cls, type) and issubclass(cls, OptimWrapper):  # else MMEngine raises an error
                config._cfg_dict['type'] = exchanging(cls)
            self.configs[name] = config._cfg_dict
            if config.get('constructor', _DEFAULT) == _DEFAULT:
                _check_options(config.get('paramwise_cfg') or {})

    def __call__(self, model: DualModel) -> OptimWrapperDict:
        """Build both wrappers.

        Returns:
            The optimizer wrappers ``'base'`` and ``'motivated'``.

        Raises:
            ConfigError: A key of ``paramwise_cfg.custom_keys`` matches no parameter name, or its options are not
                known to the optimizer.
        """
        wrappers = {name: _build_wrapper(getattr(model, name), config) for name, config in self.configs.items()}
        matched: dict[str, bool] = {}
        for name, config in self.configs.items():
            for key, values in ((config.get('paramwise_cfg') or {}).get('custom_keys') or {}).items():
                known = {*_OF_A_KEY, *wrappers[name].optimizer.defaults}
                for option in values.keys() - known:
                    raise ConfigError(
                        f'{_FIELD}.custom_keys[{key!r}] has {option!r}, which is not a parameter-wise option; '
                        f'{near_matches(option, known)}'
                    )
                names = (f'.{parameter}' for parameter, _ in getattr(model, name).named_parameters())
                matched[key] = any(key in parameter for parameter in names) or matched.get(key, False)
        for key, matches in matched.items():
            if not matches:
                parameters = [parameter for parameter, _ in model.motivated.named_parameters()]
                raise ConfigError(
                    f'{_FIELD}.custom_keys has {key!r}, which is part of no name of a parameter; '
                    f'{near_matches(key, parameters)}'
                )
        exchange = StepExchange()
        for name, wrapper in wrappers.items():
            if isinstance(wrapper, ExchangingOptimWrapper):  # exchange_of checks it
                try:
                    wrapper.connect(name, exchange, model.precision, self._accumulate[name])
                except ArgumentError as error:
                    field = f'{name}.{error.argument}' if name in self._split_apart else error.argument
                    raise ArgumentError(field, error.problem) from error
        return OptimWrapperDict(**wrappers)


def _build_wrapper(model: nn.Module, config: dict[str, Any]) -> OptimWrapper:
    if next(model.parameters()).is_cuda:
        _fuse(config['optimizer'])
    try:
        return build_optim_wrapper(model, config)
    except Exception:
        # Raises the error of the optimizer itself, if that is what failed.
        OPTIMIZERS.build(config['optimizer'], default_args={'params': model.parameters()})
        raise


def _fuse(optimizer: dict[str, Any]) -> None:
    """Set ``fused=True``, with which a step is one kernel, if the optimizer has it and its config does not choose."""
    cls = look_up(OPTIMIZERS, optimizer.get('type'))
    if cls is not None and 'fused' in arguments_of(cls)[0] and not {'fused', 'foreach'} & optimizer.keys():
        optimizer['fused'] = True


def _check_options(options: dict[str, Any]) -> None:
    """Check that MMEngine reads all parameter-wise options."""
    for option in options:
        if option not in _PARAMWISE:
            raise ConfigError(f'{_FIELD}.{option} is not a parameter-wise option; {near_matches(option, _PARAMWISE)}')
    keys = options.get('custom_keys') or {}
    if not isinstance(keys, dict):
        raise ConfigError(
            f"{_FIELD}.custom_keys must be a dict, got {shortened(keys)}; write {{'conv1': dict(lr_mult=...)}} in the config"
        )
    for key, values in keys.items():
        if not isinstance(values, dict):
            raise ConfigError(
                f'{_FIELD}.custom_keys has {key!r}: {shortened(values)}; write dict(lr_mult=..., decay_mult=...)'
            )
