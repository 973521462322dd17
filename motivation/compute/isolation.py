"""Isolation of counting from training: contexts and copies with which counting changes neither model nor run."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.nn.modules.batchnorm import _BatchNorm

from motivation.utils.random_state import preserved_random_state
from motivation.utils.training_mode import unfused_attention

T = TypeVar('T', bound=nn.Module)


@contextmanager
def isolated() -> Iterator[None]:
    """Run with gradients and without autocast, compiled code or fused attention, and restore random states."""
    with (
        unfused_attention(),
        preserved_random_state(),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast('cpu', enabled=False),
        torch.autocast('cuda', enabled=False),
        torch.compiler.set_stance('force_eager'),
    ):
        yield


def fake_copy(model: T, fake: FakeTensorMode) -> T:
    """Return a deep copy of a model with fake tensors as parameters and buffers.

    Args:
        model: The model. The copy has no wrappers for data parallelism or compilation, at any depth.
        fake: The fake tensor mode of the copy.
    """
    return _copy(model, {id(tensor): fake.from_tensor(tensor) for tensor in (*model.parameters(), *model.buffers())})


def plain_copy(model: T) -> T:
    """Return a deep copy of a model with its values, and without wrappers as in :func:`fake_copy`."""
    return _copy(model, {})


def light_copy(network: nn.Module) -> nn.Module:
    """Return a copy of a network on the CPU with weights of zero, which share the memory of the largest.

    Batch norms, which are not counted, are in evaluation mode, so that a batch of one image works. The copy has no
    wrappers, as in :func:`fake_copy`.
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
    """Copy a model without wrappers for data parallelism, compilation and synchronised norms.

    Args:
        model: The model.
        copies: Replacements of objects, by the object's id, as the memo of ``copy.deepcopy``; extended in place.
    """
    with unset_fake_temporarily():
        for module in model.modules():
            for value in vars(module).values():
                if isinstance(value, Tensor) and not value.is_leaf:  # only leaves can be deep-copied
                    copies[id(value)] = value.detach()
        for module in reversed(list(model.modules())):  # innermost first
            if unwrapped(module) is not module:
                copies[id(module)] = copy.deepcopy(unwrapped(module), copies)
        copied = copy.deepcopy(model, copies)  # drops in-place compilation
    for module in copied.modules():
        if isinstance(module, nn.SyncBatchNorm) and not isinstance(module, _Unsynchronized):
            module.__class__ = _unsynchronized(type(module))
    return copied


class _Unsynchronized(nn.SyncBatchNorm):
    """A SyncBatchNorm that does not synchronise."""

    forward = _BatchNorm.forward


def _unsynchronized(norm: type[nn.SyncBatchNorm]) -> type[nn.SyncBatchNorm]:
    """Return the class of a SyncBatchNorm, or timm's with an activation, that does not synchronise."""
    return _Unsynchronized if norm is nn.SyncBatchNorm else type(norm.__name__, (norm, _Unsynchronized), {})


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside a wrapper for data parallelism or compilation, or a module without a wrapper as is."""
    if isinstance(module, (nn.parallel.DataParallel, nn.parallel.DistributedDataParallel)):
        return module.module
    return getattr(module, '_orig_mod', module)
