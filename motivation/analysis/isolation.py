"""Counting apart from training: it changes nothing, and nothing that leaves the compute alone changes it."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from motivation.random_state import preserved_random_state


@contextmanager
def isolated() -> Iterator[None]:
    """Run as written: without autocast or compiled code, with gradients, with random states restored."""
    with (
        preserved_random_state(),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast('cpu', enabled=False),
        torch.autocast('cuda', enabled=False),
        torch.compiler.set_stance('force_eager'),
    ):
        yield


def bare(model: nn.Module) -> nn.Module:
    """A model without what only changes how it runs: data parallelism and compilation, at any depth.

    Returns:
        The model itself if it has none of these, else one around the same parameters and buffers.
    """
    wrapped = [module for module in model.modules() if _unwrapped(module) is not module]
    if not wrapped and not any(module._compiled_call_impl for module in model.modules()):
        return model
    copies: dict[int, Any] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    for module in reversed(wrapped):  # the innermost first
        copies[id(module)] = copy.deepcopy(_unwrapped(module), copies)
    return copy.deepcopy(model, copies)  # which leaves out what was compiled in place


def _unwrapped(module: nn.Module) -> nn.Module:
    if isinstance(module, (nn.parallel.DataParallel, nn.parallel.DistributedDataParallel)):
        return module.module
    return getattr(module, '_orig_mod', module)


def light_copy(network: nn.Module) -> nn.Module:
    """A copy on the CPU that has a network's shapes and modes and none of its weights.

    All its parameters are zeros of one piece of memory, as large as the largest of them. Batch norms
    are in evaluation mode, so that it takes a single image; they are no compute that is counted.
    """
    zeros = torch.zeros(max((parameter.numel() for parameter in network.parameters()), default=0))
    shared: dict[int, Any] = {}
    for parameter in network.parameters():
        values = zeros[: parameter.numel()].view(parameter.shape).to(parameter.dtype)
        shared[id(parameter)] = nn.Parameter(values, requires_grad=False)
    light = copy.deepcopy(network, shared).cpu()
    for module in light.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    return light
