"""Multiply-accumulates of single operators: what the two counters share, and where users add theirs."""

import math
from collections.abc import Callable
from typing import Any

import torch

from motivation.errors import ConfigError

Shape = list[int]

# Operators of torch whose work is multiply-accumulates: one that has no formula is an error, not a zero.
MULTIPLYING = frozenset(
    {
        '_addmm_activation', '_bilinear', '_cdist_forward', '_cudnn_rnn', '_cudnn_rnn_backward', '_convolution',
        '_convolution_mode', '_flash_attention_forward', '_efficient_attention_forward', '_native_multi_head_attention',
        '_scaled_dot_product_attention_math', '_scaled_dot_product_attention_math_for_mps',
        '_scaled_dot_product_cudnn_attention', '_scaled_dot_product_efficient_attention',
        '_scaled_dot_product_flash_attention', '_scaled_dot_product_flash_attention_for_cpu',
        '_scaled_dot_product_fused_attention_overrideable', '_scaled_mm', '_int_mm', '_grouped_mm',
        '_transform_bias_rescale_qkv', '_trilinear', '_weight_int4pack_mm', '_weight_int8pack_mm', 'addbmm', 'addmm',
        'addmv', 'baddbmm', 'bilinear', 'bmm', 'chain_matmul', 'convolution', 'convolution_backward',
        'convolution_overrideable', 'cudnn_convolution', 'cudnn_convolution_transpose', 'dot', 'einsum', 'gru',
        'gru_cell', 'inner', 'linalg_multi_dot', 'linear', 'linear_backward', 'lstm', 'lstm_cell', 'matmul',
        'linalg_matrix_exp', 'matrix_exp', 'miopen_convolution', 'miopen_rnn', 'mkldnn_convolution', 'mkldnn_linear', 'mkldnn_rnn_layer',
        'mkldnn_rnn_layer_backward', 'mm', 'mps_convolution', 'mv', 'rnn_relu', 'rnn_relu_cell', 'rnn_tanh',
        'rnn_tanh_cell', 'scaled_dot_product_attention', 'sparse_mm', 'tensordot', 'vdot',
    }
)  # fmt: skip

# Formulas of operators that are not torch's own, by qualified name such as 'mylib::product'.
CUSTOM: dict[str, Callable[..., int]] = {}


def register_formula(operator: str, macs: Callable[..., int]) -> None:
    """Tell both counters how many multiply-accumulates an operator does.

    Args:
        operator: Its qualified name, such as ``'mylib::product'``. The operator that computes its
            gradient is one of its own and needs its own formula.
        macs: Called with the operator's arguments, each tensor replaced by its shape as a list, and
            ``output``, the shape of its (first) result; returns the MACs.

    Raises:
        ConfigError: The name is not qualified.

    Example:
        >>> register_formula('mylib::product', lambda a, b, output: math.prod(output) * a[-1])
    """
    if operator.count('::') != 1:
        raise ConfigError(f"register_formula got {operator!r}; give the qualified name, such as 'mylib::product'")
    CUSTOM[operator] = macs


def operator_of(name: str) -> Any:
    """The operator of torch under a qualified name that was registered with a formula.

    Raises:
        ConfigError: There is none.
    """
    namespace, operator = name.split('::')
    try:
        return getattr(getattr(torch.ops, namespace), operator)
    except AttributeError as error:
        raise ConfigError(
            f'register_formula was given {name!r}, which is no operator of torch; correct the name, or import the '
            'module that defines the operator under custom_imports'
        ) from error


def needs_formula(operator: str) -> bool:
    """Whether an operator without a formula, named as ``'aten::mm'``, is an error.

    Torch's own are unless they are known not to multiply; of any other nothing is known.
    """
    namespace, name = operator.split('::')
    if namespace in ('aten', 'prim', 'prims', 'onnx'):
        return name in MULTIPLYING
    return namespace not in ('profiler', 'debugprims', 'rngprims')


def missing_formula(operator: str) -> ConfigError:
    """The error for an operator that cannot be counted."""
    return ConfigError(
        f'the compute of {operator!r} cannot be counted: there is no formula for it; give one with '
        f'motivation.analysis.register_formula({operator!r}, ...), from a module under custom_imports'
    )


def attention_macs(query: Shape, key: Shape, value: Shape) -> int:
    """QK^T and PV for Q (..., L, E), K (..., S, E), V (..., S, D): (...) x L x S x (E + D)."""
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def attention_backward_macs(query: Shape, key: Shape, value: Shape) -> int:
    """Scores anew (E), gradients of scores and of V (D each), gradients of Q and of K (E each)."""
    return math.prod(query[:-1]) * key[-2] * (3 * query[-1] + 2 * value[-1])


def convolution_backward_macs(
    grad_output: Shape, inputs: Shape, weight: Shape, transposed: bool, mask: list[bool]
) -> int:
    """Gradient to the input and gradient to the weight: as many MACs as the forward pass, each.

    torch's own formula forgets to divide the weight gradient by ``groups``.
    """
    positions = inputs if transposed else grad_output
    forward = positions[0] * math.prod(positions[2:]) * math.prod(weight)
    return forward * (int(mask[0]) + int(mask[1]))


def recurrent_macs(inputs: Shape, weights: list[Shape]) -> int:
    """Every weight matrix once for each step of each sequence: inputs (..., features), one of ``...`` the steps."""
    return math.prod(inputs[:-1]) * sum(map(math.prod, weights))


def einsum_macs(equation: str, shapes: list[Shape]) -> int:
    """As torch computes it: operands from left to right, each pair as one batched matrix product.

    An index that only one of the two has, and nobody later, is summed beforehand; a pair with nothing
    to sum over is an element-wise product, which is not counted.
    """
    left, arrow, out = equation.replace(' ', '').partition('->')
    terms = left.split(',')
    if '.' in left or not arrow:
        raise ConfigError(f'the compute of einsum {equation!r} cannot be counted; write every index and the output')
    sizes = {
        index: size for term, shape in zip(terms, shapes, strict=True) for index, size in zip(term, shape, strict=True)
    }
    macs, current = 0, set(terms[0])
    for place, term in enumerate(terms[1:], 1):
        later = set(out).union(*terms[place + 1 :])
        kept = {index for index in current | set(term) if index in later}
        summed = (current & set(term)) - kept
        if summed:
            macs += math.prod(sizes[index] for index in kept | summed)
        current = kept
    return macs


def shape_of(value: Any) -> Any:
    """The shape of a tensor as a list; anything else as it is."""
    return list(value.shape) if isinstance(value, torch.Tensor) else value
