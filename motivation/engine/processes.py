"""What all processes of a run must agree on."""

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor


def mean_over_processes(value: Tensor | float) -> float:
    """The mean of a scalar over all processes, as a Python number."""
    if get_world_size() == 1:
        return torch.as_tensor(value).item()
    mean = torch.as_tensor(value, dtype=torch.float64).clone()
    all_reduce(mean, 'mean')
    return mean.item()


def sum_over_processes(count: int) -> int:
    """The sum of a count over all processes."""
    if get_world_size() == 1:
        return count
    total = torch.tensor(count)
    all_reduce(total, 'sum')
    return int(total.item())
