"""Networks whose weights do not matter, built without drawing them."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_RANDOM = {
    *(getattr(Tensor, name) for name in ('uniform_', 'normal_', 'erfinv_')),
    *(getattr(nn.init, name) for name in ('uniform_', 'normal_', 'kaiming_uniform_', 'kaiming_normal_', 'trunc_normal_')),
}  # fmt: skip


def untrained() -> AbstractContextManager:
    """Return a context in which networks are built with weights of zero in place of random ones."""
    return _Zeros()


class _Zeros(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in _RANDOM:
            tensor = args[0] if args else kwargs['tensor']
            with torch.no_grad():
                return tensor.zero_()
        return func(*args, **(kwargs or {}))
