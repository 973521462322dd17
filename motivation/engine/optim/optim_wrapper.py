"""The constructor of the optimizer wrappers of both models."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper, ApexOptimWrapper, OptimWrapper, OptimWrapperDict, build_optim_wrapper
from torch import nn

from motivation.engine.optim.clipping import AdaptiveClipping, adaptive_clipping
from motivation.engine.optim.exchanging import ExchangingOptimWrapper, exchanging
from motivation.engine.optim.optimizer_checks import check_state
from motivation.engine.optim.parameter_groups import ParameterGroups
from motivation.engine.optim.step import StepExchange
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
_OURS = tuple(arguments_of(ParameterGroups)[0])


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DualOptimWrapperConstructor:
    """Builds one optimizer wrapper for the base and one for the motivated model.

    Both are built from the same fields; fields under ``base`` or ``motivated`` override them for that model.

    Args:
        optim_wrapper_cfg: Config of an optimizer wrapper, with optional ``base`` and ``motivated``.
        paramwise_cfg: MMEngine's parameter-wise options, for both models, and the arguments of
            :class:`~motivation.engine.optim.parameter_groups.ParameterGroups`.

    The further field ``accumulate`` is the number of micro-batches, at least 1 (default), that each batch of the data
    loader is split into; their gradients add up to one step, with the memory of one micro-batch. Apart from dropout and
    batch statistics it trains as one pass would. Besides MMEngine's ways to clip gradients,
    ``clip_grad=dict(type='agc', ...)`` takes the arguments of :class:`~motivation.engine.optim.clipping.AdaptiveClipping`.

    Raises:
        ConfigError: ``accumulate`` is below 1; ``accumulative_counts`` is not 1 (a switch between two accumulated
            batches would leave half a gradient behind); the wrapper is one of MMEngine's or Apex's mixed precision; a
            parameter-wise option is unknown, matches no parameter, or must be common to both models and is not; or
            ``clip_grad`` is invalid.

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
        self._clipping: dict[ModelName, AdaptiveClipping | None] = {}
        self._groups = _common_options(shared, optim_wrapper_cfg)
        self._own = {name: optim_wrapper_cfg.get(name, {}) for name in MODEL_NAMES}
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
            with self._field_of(name):
                self._clipping[name] = adaptive_clipping(config.get('clip_grad'))
            if self._clipping[name] is not None:
                config._cfg_dict.pop('clip_grad')
            self.configs[name] = config._cfg_dict
            if config.get('constructor', _DEFAULT) == _DEFAULT:
                _check_options(config.get('paramwise_cfg') or {})
            for option in _OURS:
                (config._cfg_dict.get('paramwise_cfg') or {}).pop(option, None)

    def __call__(self, model: DualModel) -> OptimWrapperDict:
        """Build both wrappers.

        Returns:
            The optimizer wrappers ``'base'`` and ``'motivated'``.

        Raises:
            ConfigError: A key of ``paramwise_cfg.custom_keys`` matches no parameter name, or its options are not
                known to the optimizer.
        """
        wrappers = {name: _build_wrapper(getattr(model, name), config) for name, config in self.configs.items()}
        for name, config in self.configs.items():
            with self._field_of(name):
                check_state(config['optimizer'], model.optimizer_state)
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
                clipping = self._clipping[name]
                with self._field_of(name):
                    wrapper.connect(name, exchange, model.precision, self._accumulate[name])
                    if clipping is not None:
                        wrapper.clip_by(clipping.function(getattr(model, name)), clipping.options)
        self._groups.apply(model.weight_map, {name: wrappers[name].optimizer for name in MODEL_NAMES})
        return OptimWrapperDict(**wrappers)

    @contextmanager
    def _field_of(self, name: ModelName) -> Iterator[None]:
        """Add the model to the field of an error, if the field is given for that model alone."""
        try:
            yield
        except ArgumentError as error:
            own = error.argument.partition('.')[0] in self._own[name]
            raise ArgumentError(f'{name}.{error.argument}' if own else error.argument, error.problem) from error


def _build_wrapper(model: nn.Module, config: dict[str, Any]) -> OptimWrapper:
    if next(model.parameters()).is_cuda:
        _fuse(config['optimizer'])
    try:
        cls = look_up(OPTIMIZERS, config['optimizer'].get('type'))
        found = {} if cls is None else {'type': cls}  # MMEngine would look for it in its own registry first
        return build_optim_wrapper(model, {**config, 'optimizer': {**config['optimizer'], **found}})
    except Exception:
        # Raises the error of the optimizer itself, if that is what failed.
        OPTIMIZERS.build(config['optimizer'], default_args={'params': model.parameters()})
        raise


def _fuse(optimizer: dict[str, Any]) -> None:
    """Set ``fused=True``, with which a step is one kernel, if the optimizer has it and its config does not choose."""
    cls = look_up(OPTIMIZERS, optimizer.get('type'))
    if cls is not None and 'fused' in arguments_of(cls)[0] and not {'fused', 'foreach'} & optimizer.keys():
        optimizer['fused'] = True


def _common_options(shared: Mapping[str, Any], own: Mapping[str, Any]) -> ParameterGroups:
    """Return the parameter-wise options that must be common to both models."""
    for name in MODEL_NAMES:
        for option in (own.get(name, {}).get('paramwise_cfg') or {}).keys() & set(_OURS):
            raise ConfigError(
                f'optim_wrapper.{name}.paramwise_cfg.{option} is given for one model, and a shared tensor has one learning '
                f'rate and decay in both; write {_FIELD}.{option}'
            )
    given = shared.get('paramwise_cfg') or {}
    given = given if isinstance(given, dict) else {}
    try:
        return ParameterGroups(**{option: value for option, value in given.items() if option in _OURS})
    except ArgumentError as error:
        raise ConfigError(f'{_FIELD}.{error}') from error


def _check_options(options: dict[str, Any]) -> None:
    """Check that MMEngine reads all parameter-wise options."""
    for option in options:
        if option not in (*_PARAMWISE, *_OURS):
            known = near_matches(option, (*_PARAMWISE, *_OURS))
            raise ConfigError(f'{_FIELD}.{option} is not a parameter-wise option; {known}')
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
