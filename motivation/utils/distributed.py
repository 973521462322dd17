"""Several processes that train one pair of models, and what they must agree on.

Started by ``torchrun``, every process makes the same steps on its share of each batch: gradients are
averaged, and the policy is told the loss averaged over all, so that all decide alike. The statistics of
normalisation layers are those of the first process, which also reports, logs and saves.
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
    """Join the process group if ``torchrun`` started this process; on a GPU of its own, if there are any.

    Raises:
        ConfigError: There are fewer GPUs than processes.
    """
    if int(os.environ.get('WORLD_SIZE', 1)) == 1 or torch.distributed.is_initialized():
        return
    local_rank, gpus = int(os.environ['LOCAL_RANK']), torch.cuda.device_count()
    if 0 < gpus <= local_rank:
        raise ConfigError(
            f'torchrun --nproc-per-node is {os.environ["LOCAL_WORLD_SIZE"]}, but there are {gpus} GPUs; give at most that'
        )
    if gpus:
        torch.cuda.set_device(local_rank)
    os.environ.setdefault('MKL_NUM_THREADS', os.environ.get('OMP_NUM_THREADS', '1'))  # or MMEngine warns of it
    torch.distributed.init_process_group('nccl' if gpus else 'gloo')
    atexit.register(torch.distributed.destroy_process_group)


def decide_once(decide: Callable[[], T]) -> T:
    """Decide in the first process, for all.

    Args:
        decide: Called in the first process only.

    Returns:
        Its result, in every process.

    Raises:
        ConfigError: It raised one; in every process.
    """
    if get_world_size() == 1:
        return decide()
    said: list[Any] = [None, None]
    if get_rank() == 0:
        try:
            said[0] = decide()
        except ConfigError as error:
            said[1] = str(error)
    broadcast_object_list(said)
    if said[1] is not None:
        raise ConfigError(said[1])
    return said[0]


def sum_over_processes(count: int) -> int:
    """The sum of a count over all processes."""
    if get_world_size() == 1:
        return count
    total = torch.tensor(count)
    all_reduce(total, 'sum')
    return int(total.item())


def share_buffers(model: nn.Module) -> None:
    """Give every process the buffers of the first."""
    if get_world_size() > 1:
        for buffer in model.buffers():
            broadcast(buffer)
