"""Counting apart from training: it changes nothing, and nothing that leaves the compute alone changes it."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.nn.modules.batchnorm import _BatchNorm

from motivation.utils.random_state import preserved_random_state

T = TypeVar('T', bound=nn.Module)


@contextmanager
def isolated() -> Iterator[None]:
    """Run as written: without autocast, compiled code or fused kernels, with gradients, with random states restored."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operator for a whole layer of attention in evaluation
    try:
        with _as_written():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


@contextmanager
def _as_written() -> Iterator[None]:
    with (
        preserved_random_state(),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast('cpu', enabled=False),
        torch.autocast('cuda', enabled=False),
        torch.compiler.set_stance('force_eager'),
    ):
        yield


def fake_copy(model: T, fake: FakeTensorMode) -> T:
    """A copy of a model with fake tensors in place of its parameters and buffers.

    Whatever is run on it, the model itself, its plain attributes included, stays as it is.

    Args:
        model: Data parallelism and compilation are left out of the copy, at any depth.
        fake: The mode the copy is for.
    """
    return _copy(model, {id(tensor): fake.from_tensor(tensor) for tensor in (*model.parameters(), *model.buffers())})


def plain_copy(model: T) -> T:
    """A copy of a model with its values, as large as the model itself; otherwise as :func:`fake_copy`."""
    return _copy(model, {})


def light_copy(network: nn.Module) -> nn.Module:
    """A copy on the CPU that has a network's shapes and modes and none of its weights.

    All its parameters are zeros of one piece of memory, as large as the largest of them. Batch norms
    are in evaluation mode, so that it takes a single image; they are no compute that is counted.

    Args:
        network: Data parallelism and compilation are left out of the copy, at any depth.
    """
    zeros = torch.zeros(max((parameter.numel() for parameter in network.parameters()), default=0))
    shared: dict[int, Any] = {}
    for parameter in network.parameters():
        values = zeros[: parameter.numel()].view(parameter.shape).to(parameter.dtype)
        shared[id(parameter)] = nn.Parameter(values, requires_grad=False)
    light = _copy(network, shared).cpu()
    for module in light.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    return light


def _copy(model: T, copies: dict[int, Any]) -> T:
    """Copy a model without what only changes how it runs.

    Args:
        model: The model.
        copies: What takes the place of an object, by the object's id; is added to.
    """
    with unset_fake_temporarily():
        for module in model.modules():
            for value in vars(module).values():
                if isinstance(value, Tensor) and not value.is_leaf:  # computed before; only leaves can be copied
                    copies[id(value)] = value.detach()
        for module in reversed(list(model.modules())):  # the innermost first
            if unwrapped(module) is not module:
                copies[id(module)] = copy.deepcopy(unwrapped(module), copies)
        copied = copy.deepcopy(model, copies)  # which leaves out what was compiled in place
    for module in copied.modules():
        if isinstance(module, nn.SyncBatchNorm) and not isinstance(module, _Unsynchronized):
            module.__class__ = _unsynchronized(type(module))
    return copied


class _Unsynchronized(nn.SyncBatchNorm):
    """A batch norm for several processes that is alone."""

    forward = _BatchNorm.forward


def _unsynchronized(norm: type[nn.SyncBatchNorm]) -> type[nn.SyncBatchNorm]:
    """The class of a batch norm for several processes, timm's with an activation included, without the others."""
    return _Unsynchronized if norm is nn.SyncBatchNorm else type(norm.__name__, (norm, _Unsynchronized), {})


def unwrapped(module: nn.Module) -> nn.Module:
    """What data parallelism or compilation is around, if the module is one of these; else the module."""
    if isinstance(module, (nn.parallel.DataParallel, nn.parallel.DistributedDataParallel)):
        return module.module
    return getattr(module, '_orig_mod', module)
