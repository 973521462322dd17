"""Learning rates that follow the batch size."""

import math
from collections.abc import Callable
from typing import Any

from mmengine.dist import get_world_size
from mmengine.optim import OptimWrapper

from motivation.errors import ConfigError


def scale_rates(
    optim_wrapper: Any, batch_size: int | None, rule: dict[str, Any] | None, log: Callable[[str], Any]
) -> None:
    """Multiply the learning rates of both models by a function of the batch size of all processes.

    Args:
        optim_wrapper: The optimizer wrappers, by model name.
        batch_size: Images in a batch of one process, all micro-batches together.
        rule: ``enable``; ``base_batch_size``, for which the config gives the rates; ``rule``: ``'linear'`` (default:
            by the ratio of the batch sizes, Goyal et al., arXiv 1706.02677) or ``'sqrt'`` (by its root, for Adam and
            LAMB; You et al., arXiv 1904.00962).
        log: Receives a sentence about it.

    Raises:
        ConfigError: The batch size is not known.
    """
    if not rule or not rule.get('enable'):
        return
    if not batch_size:
        raise ConfigError(
            'auto_scale_lr.enable is True, and train_dataloader has no batch_size; give it one, or set the learning rate '
            'by hand'
        )
    images, kind = batch_size * get_world_size(), rule.get('rule', 'linear')
    ratio = images / rule['base_batch_size']
    factor = math.sqrt(ratio) if kind == 'sqrt' else ratio
    wrappers: list[OptimWrapper] = list(optim_wrapper.values())
    for wrapper in wrappers:
        for group in wrapper.optimizer.param_groups:
            group['lr'] *= factor
    log(f'learning rates are scaled by {factor:.4g}, for batches of {images} ({kind} rule)')
