"""Formulas for the multiply-accumulates (MACs) of operators, shared by both counters, and their registration."""

import math
from collections.abc import Callable
from typing import Any

import torch

from motivation.errors import ConfigError, one_line, shortened

Shape = list[int]

# Operators of torch that compute multiply-accumulates: without a formula they are an error and do not count as zero.
MULTIPLYING = frozenset(
    {
        '_addmm_activation', '_bilinear', '_cdist_backward', '_cdist_forward', '_conv_depthwise2d', '_convolution',
        '_convolution_mode', '_cslt_sparse_mm', '_cudnn_attention_backward', '_cudnn_attention_forward', '_cudnn_rnn',
        '_cudnn_rnn_backward', '_dyn_quant_matmul_4bit', '_efficient_attention_backward',
        '_efficient_attention_forward', '_euclidean_dist', '_flash_attention_backward', '_flash_attention_forward',
        '_flash_attention_forward_no_dropout_inplace', '_foreach_mm', '_grouped_mm', '_int_mm', '_lstm_mps',
        '_mixed_dtypes_linear', '_mps_convolution', '_mps_convolution_transpose', '_native_multi_head_attention',
        '_nnpack_spatial_convolution', '_scaled_dot_product_attention_math',
        '_scaled_dot_product_attention_math_for_mps', '_scaled_dot_product_cudnn_attention',
        '_scaled_dot_product_cudnn_attention_backward', '_scaled_dot_product_efficient_attention',
        '_scaled_dot_product_efficient_attention_backward', '_scaled_dot_product_flash_attention',
        '_scaled_dot_product_flash_attention_backward', '_scaled_dot_product_flash_attention_for_cpu',
        '_scaled_dot_product_flash_attention_for_cpu_backward', '_scaled_dot_product_fused_attention_overrideable',
        '_scaled_dot_product_fused_attention_overrideable_backward', '_scaled_grouped_mm', '_scaled_grouped_mm_v2',
        '_scaled_mm', '_scaled_mm_v2', '_slow_conv2d_backward', '_slow_conv2d_forward', '_sparse_addmm', '_sparse_mm',
        '_sparse_mm_reduce_impl', '_sparse_mm_reduce_impl_backward', '_sparse_semi_structured_addmm',
        '_sparse_semi_structured_linear', '_sparse_semi_structured_mm', '_sparse_sparse_matmul',
        '_transform_bias_rescale_qkv', '_transformer_encoder_layer_fwd', '_trilinear', '_triton_multi_head_attention',
        '_triton_scaled_dot_attention', '_weight_int4pack_mm', '_weight_int4pack_mm_for_cpu',
        '_weight_int4pack_mm_with_scales_and_zeros', '_weight_int8pack_mm', '_wrapped_quantized_linear_prepacked',
        'addbmm', 'addmm', 'addmv', 'baddbmm', 'bilinear', 'bmm', 'cdist', 'chain_matmul', 'conv_depthwise3d',
        'conv_tbc', 'conv_tbc_backward', 'convolution', 'convolution_backward', 'convolution_backward_overrideable',
        'convolution_overrideable', 'cudnn_convolution', 'cudnn_convolution_add_relu', 'cudnn_convolution_relu',
        'cudnn_convolution_transpose', 'dot', 'einsum', 'fbgemm_linear_fp16_weight',
        'fbgemm_linear_fp16_weight_fp32_activation', 'fbgemm_linear_int8_weight',
        'fbgemm_linear_int8_weight_fp32_activation', 'gru', 'gru_cell', 'hspmm', 'inner', 'linalg_matrix_exp',
        'linalg_multi_dot', 'linear', 'linear_backward', 'lstm', 'lstm_cell', 'lstm_mps_backward', 'matmul',
        'matmul_backward', 'matrix_exp', 'miopen_convolution', 'miopen_convolution_add_relu',
        'miopen_convolution_relu', 'miopen_convolution_transpose', 'miopen_depthwise_convolution', 'miopen_rnn',
        'miopen_rnn_backward', 'mkldnn_convolution', 'mkldnn_linear', 'mkldnn_linear_backward',
        'mkldnn_linear_backward_input', 'mkldnn_linear_backward_weights', 'mkldnn_rnn_layer',
        'mkldnn_rnn_layer_backward', 'mm', 'mps_convolution', 'mps_convolution_backward',
        'mps_convolution_transpose_backward', 'mv', 'quantized_gru', 'quantized_gru_cell', 'quantized_lstm',
        'quantized_lstm_cell', 'quantized_rnn_relu_cell', 'quantized_rnn_tanh_cell', 'rnn_relu', 'rnn_relu_cell',
        'rnn_tanh', 'rnn_tanh_cell', 'scaled_dot_product_attention', 'slow_conv3d', 'slow_conv3d_forward',
        'slow_conv_dilated2d', 'slow_conv_dilated3d', 'slow_conv_transpose2d', 'slow_conv_transpose3d', 'smm',
        'sparse_mm', 'sspaddmm', 'tensordot', 'thnn_conv2d', 'vdot',
    }
)  # fmt: skip

# Registered formulas by qualified name of the operator, such as 'mylib::product'.
CUSTOM: dict[str, Callable[..., int]] = {}


def register_formula(operator: str, macs: Callable[..., int]) -> None:
    """Register a formula for the multiply-accumulates of an operator.

    Args:
        operator: Qualified name of the operator, such as ``'mylib::product'``. The operator that computes its gradient
            needs a formula of its own.
        macs: Returns the MACs. It is called with the operator's arguments, each tensor replaced by its shape as a
            list, and ``output``, the shape of the first result.

    Raises:
        ConfigError: The name is not qualified, or the formula is not callable.

    Example:
        >>> register_formula('mylib::product', lambda a, b, output: math.prod(output) * a[-1])
    """
    if not callable(macs):
        raise ConfigError(f'register_formula({operator!r}) got {macs!r} as the formula; give a function of the shapes')
    if not isinstance(operator, str) or operator.count('::') != 1:
        raise ConfigError(f"register_formula got {operator!r}; give the qualified name, such as 'mylib::product'")
    CUSTOM[operator] = macs


def custom_macs(operator: str, *args: Any, **kwargs: Any) -> int:
    """Return the MACs according to a registered formula.

    Raises:
        ConfigError: The formula raises an error, or returns something other than a non-negative integer.
    """
    try:
        macs = CUSTOM[operator](*args, **kwargs)
    except Exception as error:  # a formula raises errors of any type
        raise ConfigError(
            f'the formula registered for {operator!r} does not take the shapes {shortened(args)}, {shortened(kwargs)}: '
            f'{type(error).__name__}: {one_line(str(error), 160)}; fix the formula'
        ) from error
    if not isinstance(macs, int) or macs < 0:
        raise ConfigError(
            f'the formula registered for {operator!r} must return an integer of at least 0, got {shortened(macs)} for the '
            f'shapes {shortened(args)}'
        )
    return macs


def operator_of(name: str) -> Any:
    """Return the operator with a qualified name.

    Raises:
        ConfigError: There is no such operator.
    """
    namespace, operator = name.split('::')
    try:
        return getattr(getattr(torch.ops, namespace), operator)
    except AttributeError as error:
        raise ConfigError(
            f'register_formula got {name!r}, which is not an operator of torch; fix the name, or import the '
            'module that defines the operator under custom_imports'
        ) from error


def needs_formula(operator: str) -> bool:
    """Whether an operator without a formula, such as ``'aten::mm'``, is an error.

    Operators of torch are if they are in :data:`MULTIPLYING`, all others in any case.
    """
    namespace, name = operator.split('::')
    if namespace in ('aten', 'prim', 'prims', 'onnx'):
        return name in MULTIPLYING
    return namespace not in ('profiler', 'debugprims', 'rngprims')


def missing_formula(operator: str) -> ConfigError:
    """Return the error about an operator that cannot be counted."""
    return ConfigError(
        f'the compute of {operator!r} cannot be counted: there is no formula for it; give one with '
        f'motivation.compute.register_formula({operator!r}, ...), from a module under custom_imports'
    )


def attention_macs(query: Shape, key: Shape, value: Shape) -> int:
    """Return the MACs of QK^T and PV for Q (..., L, E), K (..., S, E), V (..., S, D): (...) x L x S x (E + D)."""
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def attention_backward_macs(query: Shape, key: Shape, value: Shape) -> int:
    """Return the MACs of recomputed scores (E), gradients of scores and V (D each), and of Q and K (E each)."""
    return math.prod(query[:-1]) * key[-2] * (3 * query[-1] + 2 * value[-1])


def convolution_backward_macs(
    grad_output: Shape, inputs: Shape, weight: Shape, transposed: bool, mask: list[bool]
) -> int:
    """Return the MACs of the gradients of input and weight, each as many as those of the forward pass.

    Torch's own formula does not divide those of the weight gradient by ``groups``.
    """
    positions = inputs if transposed else grad_output
    forward = positions[0] * math.prod(positions[2:]) * math.prod(weight)
    return forward * (int(mask[0]) + int(mask[1]))


def recurrent_macs(inputs: Shape, weights: list[Shape]) -> int:
    """Return the MACs of every weight matrix once per step of each sequence; inputs (..., features)."""
    return math.prod(inputs[:-1]) * sum(map(math.prod, weights))


def einsum_macs(equation: str, shapes: list[Shape]) -> int:
    """Return the MACs of an einsum, computed from left to right with a batched matrix product for each pair.

    An index of one operand only, which no later one has, is summed before the product; a pair with no index to sum
    over is an element-wise product, which is not counted.
    """
    terms, out = _einsum_terms(equation, shapes)
    sizes: dict[Any, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for index, size in zip(term, shape, strict=True):
            sizes[index] = max(size, sizes.get(index, 1))
    macs, current = 0, set(terms[0])
    for place, term in enumerate(terms[1:], 1):
        later = set(out).union(*terms[place + 1 :])
        kept = {index for index in current | set(term) if index in later}
        summed = (current & set(term)) - kept
        if summed:
            macs += math.prod(sizes[index] for index in kept | summed)
        current = kept
    return macs


def _einsum_terms(equation: str, shapes: list[Shape]) -> tuple[list[list[Any]], list[Any]]:
    """Return the indices of the operands and of the result; those of an ellipsis are -1, -2, ... from the right."""
    left, arrow, right = equation.replace(' ', '').partition('->')

    def indices(term: str, dimensions: int) -> list[Any]:
        before, dots, after = term.partition('...')
        return [*before, *range(-dimensions, 0), *after] if dots else [*before]

    terms = [
        indices(term, len(shape) - len(term.replace('...', '')))
        for term, shape in zip(left.split(','), shapes, strict=True)
    ]
    dots = max((len([index for index in term if isinstance(index, int)]) for term in terms), default=0)
    if arrow:
        return terms, indices(right, dots)
    letters = left.replace(',', '').replace('.', '')
    return terms, [*range(-dots, 0), *sorted(letter for letter in set(letters) if letters.count(letter) == 1)]


def shape_of(value: Any) -> Any:
    """Return the shape of a tensor as a list, and any other value unchanged."""
    return list(value.shape) if isinstance(value, torch.Tensor) else value
