"""Mixed precision: the dtype of networks in training and evaluation."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal['fp32', 'bf16', 'fp16']

_DTYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16}


def autocast(precision: Precision, model: nn.Module) -> AbstractContextManager[object]:
    """Run the operators of a model in mixed precision within the context, see :class:`torch.autocast`.

    Args:
        precision: ``'bf16'`` or ``'fp16'``; with ``'fp32'`` nothing changes.
        model: The model, whose parameters keep their dtype.
    """
    if precision == 'fp32':
        return nullcontext()
    return torch.autocast(next(model.parameters()).device.type, _DTYPES[precision])


def full_precision(tensor: Tensor) -> Tensor:
    """Return a tensor of half precision as float32, in which losses and metrics are computed, and others as they are."""
    return tensor.float() if tensor.dtype in _DTYPES.values() else tensor


def set_tf32(allowed: bool | None) -> None:
    """Allow or forbid CUDA to round the factors of float32 products to TF32, which has 10 bits of mantissa.

    Args:
        allowed: Whether matrix products and convolutions may; ``None`` for torch's default, convolutions only.
    """
    if allowed is not None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
