"""Several processes that train one pair of models."""

from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_world_size

from motivation.errors import ConfigError
from motivation.models import DualModel


def train_together(model: DualModel, config: Mapping[str, Any]) -> None:
    """Let the processes train one pair of models.

    Args:
        model: The models, on their device.
        config: ``sync_bn='torch'`` has normalisation layers use the statistics of the batches of all
            processes; ``find_unused_parameters`` and ``model_wrapper_cfg`` are arguments of
            :class:`torch.nn.parallel.DistributedDataParallel`.

    Raises:
        ConfigError: ``sync_bn`` on a CPU, or where a normalisation layer has a forward pass of its own.
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
