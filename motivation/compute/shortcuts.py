"""Shortcuts for norms and activations on fake tensors, which are not counted.

Torch computes the shapes of their results by decomposing each into a dozen operators, which would take half of the
time of counting.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def _elementwise_backward(grad_output: Tensor, *_: Any, **__: Any) -> Tensor:
    return torch.empty_like(grad_output)


def _batch_norm(
    inputs: Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *_: Any
) -> tuple[Tensor, Tensor, Tensor]:
    saved = inputs.shape[1] if training else 0  # statistics for the backward pass
    return torch.empty_like(inputs), inputs.new_empty(saved), inputs.new_empty(saved)


def _batch_norm_backward(
    grad_output: Tensor, inputs: Tensor, weight: Tensor | None, mean: Any, var: Any, saved_mean: Any, saved_var: Any,
    training: bool, eps: float, output_mask: list[bool],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    wanted = output_mask[0], output_mask[1] and weight is not None, output_mask[2]
    channels = inputs.new_empty(inputs.shape[1]) if weight is None else weight
    return tuple(
        torch.empty_like(one) if want else None for one, want in zip((inputs, channels, channels), wanted, strict=True)
    )


def _layer_norm(inputs: Tensor, shape: list[int], *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    saved = [*inputs.shape[: inputs.ndim - len(shape)], *[1] * len(shape)]
    return torch.empty_like(inputs), inputs.new_empty(saved), inputs.new_empty(saved)


def _layer_norm_backward(
    grad_output: Tensor, inputs: Tensor, shape: list[int], mean: Any, rstd: Any, weight: Any, bias: Any,
    output_mask: list[bool],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    like = inputs, weight, bias
    return tuple(
        torch.empty_like(one) if want and one is not None else None for one, want in zip(like, output_mask, strict=True)
    )


# For each operator, a function that takes its arguments and returns tensors of the right shapes.
SHORTCUTS: dict[Any, Callable[..., Any]] = {
    aten.native_batch_norm.default: _batch_norm,
    aten.native_batch_norm_backward.default: _batch_norm_backward,
    aten.native_layer_norm.default: _layer_norm,
    aten.native_layer_norm_backward.default: _layer_norm_backward,
    **{
        operator.default: _elementwise_backward
        for operator in (
            aten.gelu_backward, aten.hardsigmoid_backward, aten.hardswish_backward, aten.sigmoid_backward,
            aten.silu_backward, aten.tanh_backward, aten.threshold_backward,
        )
    },
}  # fmt: skip
