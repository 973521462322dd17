"""Training with several processes, started by ``torchrun``.

Every process takes the same steps on its share of each batch. Gradients are averaged, and so is the loss that the
policy receives, so that all processes make the same decisions. The first process logs, reports and saves, with its
own statistics of normalisation layers.
"""

import atexit
import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from mmengine.dist import all_reduce, broadcast, broadcast_object_list, get_rank, get_world_size
from torch import nn

from motivation.errors import ConfigError

T = TypeVar('T')


def join_processes() -> None:
    """Join the process group if ``torchrun`` started this process, and select a GPU of its own if there are any.

    Raises:
        ConfigError: There are fewer GPUs than processes.
    """
    if int(os.environ.get('WORLD_SIZE', 1)) == 1 or torch.distributed.is_initialized():
        return
    local_rank, gpus = int(os.environ['LOCAL_RANK']), torch.cuda.device_count()
    if 0 < gpus <= local_rank:
        raise ConfigError(
            f'torchrun --nproc-per-node must be at most {gpus}, the number of GPUs, got {os.environ["LOCAL_WORLD_SIZE"]}'
        )
    if gpus:
        torch.cuda.set_device(local_rank)
    os.environ.setdefault('MKL_NUM_THREADS', os.environ.get('OMP_NUM_THREADS', '1'))  # avoids a warning of MMEngine
    torch.distributed.init_process_group('nccl' if gpus else 'gloo')
    atexit.register(torch.distributed.destroy_process_group)


def decide_once(decide: Callable[[], T]) -> T:
    """Call a function in the first process only, and return its result in every process.

    Args:
        decide: The function.

    Raises:
        ConfigError: The function raised it; raised in every process.
    """
    if get_world_size() == 1:
        return decide()
    outcome: list[Any] = [None, None]  # result and error message
    if get_rank() == 0:
        try:
            outcome[0] = decide()
        except ConfigError as error:
            outcome[1] = str(error)
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise ConfigError(outcome[1])
    return outcome[0]


def sum_over_processes(count: int) -> int:
    """Return the sum of a count over all processes."""
    if get_world_size() == 1:
        return count
    total = torch.tensor(count)
    all_reduce(total, 'sum')
    return int(total.item())


def share_buffers(model: nn.Module) -> None:
    """Copy the buffers of a model from the first process to all others."""
    if get_world_size() > 1:
        for buffer in model.buffers():
            broadcast(buffer)
