"""Distributed training of both models."""

from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_world_size

from motivation.errors import ConfigError
from motivation.models import DualModel


def train_together(model: DualModel, config: Mapping[str, Any]) -> None:
    """Wrap both models for distributed training.

    Args:
        model: The models, on their device.
        config: The config. ``sync_bn='torch'`` synchronizes batch statistics over all processes;
            ``find_unused_parameters`` and ``model_wrapper_cfg`` are arguments of
            :class:`torch.nn.parallel.DistributedDataParallel`.

    Raises:
        ConfigError: ``sync_bn`` is given on a CPU, or with a normalisation layer that has its own forward pass.
    """
    if config.get('sync_bn') is not None:
        if next(model.parameters()).device.type == 'cpu':
            raise ConfigError(
                f'sync_bn is {config["sync_bn"]!r}, which torch has for GPUs alone, and these {get_world_size()} processes '
                'train on the CPU; leave it out, or train on GPUs'
            )
        model.synchronize_norms()
    arguments = {'find_unused_parameters': bool(config.get('find_unused_parameters'))}
    arguments.update(config.get('model_wrapper_cfg') or {})
    arguments.pop('type', None)
    model.parallelize(**arguments)
