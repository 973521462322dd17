"""One optimizer for each of the two models."""

import copy
from typing import Any

from mmengine.config import Config
from mmengine.optim import OptimWrapperDict, build_optim_wrapper

from motivation.errors import ConfigError
from motivation.models import MODEL_NAMES, DualModel
from motivation.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DualOptimWrapperConstructor:
    """Builds an optimizer wrapper for the base and one for the motivated model.

    Both are built from the same fields; what stands under ``base`` or ``motivated`` holds for that
    model alone.

    Args:
        optim_wrapper_cfg: Config of an optimizer wrapper, with an optional ``base`` and
            ``motivated``.
        paramwise_cfg: MMEngine's parameter-wise options, for both models.

    Raises:
        ConfigError: ``accumulative_counts`` is not 1: a switch between two accumulated batches would
            leave half a gradient behind.

    Example:
        >>> optim_wrapper = dict(
        ...     optimizer=dict(type='SGD', lr=0.1, momentum=0.9),
        ...     motivated=dict(optimizer=dict(lr=0.05)))
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        shared = {key: value for key, value in optim_wrapper_cfg.items() if key not in MODEL_NAMES}
        shared.setdefault('type', 'OptimWrapper')
        self.configs = {}
        for name in MODEL_NAMES:
            config = Config(copy.deepcopy(shared))
            config.merge_from_dict(optim_wrapper_cfg.get(name, {}))
            if config.get('accumulative_counts', 1) != 1:
                raise ConfigError(
                    f'optim_wrapper.accumulative_counts is {config.accumulative_counts}; it must be 1, '
                    'because the models switch after every batch: raise train_dataloader.batch_size instead'
                )
            if paramwise_cfg is not None:
                config.paramwise_cfg = copy.deepcopy(paramwise_cfg)
            self.configs[name] = config._cfg_dict

    def __call__(self, model: DualModel) -> OptimWrapperDict:
        """Build both wrappers.

        Returns:
            One optimizer wrapper each under ``'base'`` and ``'motivated'``.
        """
        return OptimWrapperDict(
            **{name: build_optim_wrapper(getattr(model, name), config) for name, config in self.configs.items()}
        )
