"""What each tensor operator does to the spaces of its operands.

A rule gets the call and returns the spaces of each output tensor. Operators are those that PyTorch
dispatches (``aten``); an elementwise operator needs no rule of its own. What passes through an operator
without a rule must not grow.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from motivation.weight_maps.spaces import Space, SpaceError, compose, cut, factor, unify

Spaces = tuple[Space, ...]


@dataclass
class Call:
    """One operator call while a network runs.

    Attributes:
        args: Positional arguments, tensors among them.
        kwargs: Keyword arguments.
        spaces: Looks up the spaces of a tensor.
        outputs: Output tensors.
        reduced: Filled by rules: spaces over which the operator takes statistics, so that its result
            changes when they grow.
    """

    args: Sequence[Any]
    kwargs: dict[str, Any]
    spaces: Callable[[Tensor], Spaces]
    outputs: list[Tensor]
    reduced: list[Space] = field(default_factory=list)

    def of(self, position: int) -> Spaces:
        """Spaces of a positional tensor argument."""
        return self.spaces(self.args[position])

    def arg(self, position: int, name: str, default: Any = None) -> Any:
        """An argument that may be given by position or by name."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)


Rule = Callable[[Call], list[Spaces]]
RULES: dict[str, Rule] = {}


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return register


def positions(sizes: Sequence[int]) -> Spaces:
    """Dimensions that must agree in both models."""
    return tuple(Space(size, 'position') for size in sizes)


def elementwise(call: Call) -> list[Spaces]:
    """Operands broadcast against each other; dimensions that meet are the same space."""
    operands = [call.spaces(arg) for arg in [*call.args, *call.kwargs.values()] if isinstance(arg, Tensor)]
    result: list[Space] = []
    for offset in range(1, call.outputs[0].ndim + 1):
        meeting = [spaces[-offset] for spaces in operands if len(spaces) >= offset]
        wide = [space for space in meeting if space.size > 1] or meeting
        for space in wide[1:]:
            unify(wide[0], space)
        result.insert(0, wide[0])
    return [tuple(result)] * len(call.outputs)


RULES['hardswish'] = elementwise  # PyTorch does not tag it


# ----------------------------------------------------------------------------------------------------
# Reading with weights.


@_rule('convolution', '_convolution')
def _convolution(call: Call) -> list[Spaces]:
    inputs, weight = call.of(0), call.of(1)
    transposed, groups = call.args[6], call.args[8]
    read, written = (weight[0], weight[1]) if transposed else (weight[1], weight[0])
    channels = written
    if groups > 1:
        # One operand is a whole dimension, groups included, the other the width inside a group.
        inside, across = (written, read) if transposed else (read, written)
        group, width = Space(groups), Space(across.size // groups)
        unify(across, _product(group, width))
        other = _product(group, inside)
        channels, read = (other, across) if transposed else (across, other)
    unify(inputs[1], read)
    bias = call.args[2]
    if bias is not None:
        unify(channels, call.spaces(bias)[0])
    for space in inputs[2:]:
        space.fix('position')
    return [(inputs[0], channels, *positions(call.outputs[0].shape[2:]))]


def _product(group: Space, width: Space) -> Space:
    if width.size == 1:
        width.fix('width of a group')
        return group
    return compose('product', [group, width])


@_rule('mm', 'bmm', 'mv', 'dot')
def _matmul(call: Call) -> list[Spaces]:
    return _contract(call.of(0), call.of(1))


def _contract(left: Spaces, right: Spaces) -> list[Spaces]:
    """(B, M, K) @ (B, K, N): batches meet and K is summed over."""
    *left_batch, left_inner = left
    batch = len(left) - 2 if len(right) > 1 else 0
    unify(left_inner, right[batch] if len(right) > 1 else right[0])
    for one, other in zip(left[:batch], right[:batch], strict=True):
        unify(one, other)
    return [(*left_batch, *right[batch + 1 :])]


@_rule('addmm', 'baddbmm', 'addmv')
def _matmul_and_bias(call: Call) -> list[Spaces]:
    (product,) = _contract(call.of(1), call.of(2))
    for bias, space in zip(reversed(call.of(0)), reversed(product), strict=False):
        if bias.size > 1 or space.size == 1:
            unify(bias, space)
    return [product]


@_rule(
    '_scaled_dot_product_flash_attention_for_cpu',
    '_scaled_dot_product_flash_attention',
    '_scaled_dot_product_efficient_attention',
    '_scaled_dot_product_cudnn_attention',
    '_scaled_dot_product_attention_math',
)
def _attention(call: Call) -> list[Spaces]:
    """Queries (..., L, E), keys (..., S, E), values (..., S, D) -> (..., L, D), scaled by E."""
    query, key, value = call.of(0), call.of(1), call.of(2)
    query[-1].fix('head width')
    pairs = [(query[-1], key[-1]), (key[-2], value[-2])]
    pairs += [*zip(query[:-2], key[:-2], strict=True), *zip(key[:-2], value[:-2], strict=True)]
    for one, other in pairs:
        unify(one, other)
    mask = call.arg(5, 'attn_mask')
    if isinstance(mask, Tensor):
        scores = (*query[:-1], key[-2])
        for one, other in zip(reversed(call.spaces(mask)), reversed(scores), strict=False):
            if one.size > 1:
                unify(one, other)
    return [(*query[:-1], value[-1]), *(positions(output.shape) for output in call.outputs[1:])]


# ----------------------------------------------------------------------------------------------------
# Statistics.


@_rule('native_batch_norm', '_native_batch_norm_legit', '_native_batch_norm_legit_no_training', 'cudnn_batch_norm')
def _batch_norm(call: Call) -> list[Spaces]:
    inputs = call.of(0)
    for arg in call.args[1:5]:
        if isinstance(arg, Tensor):
            unify(inputs[1], call.spaces(arg)[0])
    return [inputs, *(positions(output.shape) for output in call.outputs[1:])]


@_rule('native_layer_norm')
def _layer_norm(call: Call) -> list[Spaces]:
    inputs, normalised = call.of(0), len(call.args[1])
    for arg in call.args[2:4]:
        if isinstance(arg, Tensor):
            for one, other in zip(inputs[-normalised:], call.spaces(arg), strict=True):
                unify(one, other)
    call.reduced += inputs[-normalised:]
    return [inputs, *(positions(output.shape) for output in call.outputs[1:])]


@_rule('native_group_norm')
def _group_norm(call: Call) -> list[Spaces]:
    inputs, groups = call.of(0), call.args[6]
    for arg in call.args[1:3]:
        if isinstance(arg, Tensor):
            unify(inputs[1], call.spaces(arg)[0])
    if groups > 1:
        width = Space(inputs[1].size // groups)
        unify(inputs[1], _product(Space(groups), width))
        call.reduced.append(width)
    else:
        call.reduced.append(inputs[1])
    return [inputs, *(positions(output.shape) for output in call.outputs[1:])]


@_rule('mean', 'sum', 'amax', 'amin', 'prod', 'logsumexp', 'linalg_vector_norm', 'var', 'var_mean', 'std', 'max', 'min')
def _reduce(call: Call) -> list[Spaces]:
    inputs = call.of(0)
    kept_ndim = call.outputs[0].ndim
    # linalg_vector_norm(x, order, dim) has its dimensions one place further on.
    given = next((arg for arg in call.args[1:3] if isinstance(arg, (list, tuple))), call.arg(1, 'dim'))
    dims = {dim % len(inputs) for dim in ([given] if isinstance(given, int) else given or range(len(inputs)))}
    call.reduced += [inputs[dim] for dim in dims]
    if kept_ndim == len(inputs):
        result = tuple(Space(1, 'single') if dim in dims else space for dim, space in enumerate(inputs))
    else:
        result = tuple(space for dim, space in enumerate(inputs) if dim not in dims)
    return [result] * len(call.outputs)


@_rule('_softmax', '_log_softmax', 'cumsum', '_safe_softmax')
def _along_a_dimension(call: Call) -> list[Spaces]:
    inputs = call.of(0)
    call.reduced.append(inputs[call.args[1]])
    return [inputs]


@_rule(
    'avg_pool2d', 'max_pool2d', 'max_pool2d_with_indices', '_adaptive_avg_pool2d', 'adaptive_max_pool2d',
    'upsample_nearest2d', 'upsample_bilinear2d', 'upsample_bicubic2d',
)  # fmt: skip
def _pool(call: Call) -> list[Spaces]:
    inputs = call.of(0)
    return [(*inputs[:-2], *positions(output.shape[-2:])) for output in call.outputs]


# ----------------------------------------------------------------------------------------------------
# Other shapes of the same data.


@_rule(
    'clone',
    '_to_copy',
    'alias',
    'detach',
    'contiguous',
    'lift_fresh',
    'native_dropout',
    'bernoulli',
    'zeros_like',
    'ones_like',
)
def _same(call: Call) -> list[Spaces]:
    return [call.of(0)] * len(call.outputs)


@_rule('view', '_unsafe_view', 'reshape', '_reshape_copy', 'reshape_copy')
def _view(call: Call) -> list[Spaces]:
    """Neighbouring dimensions whose sizes multiply to the same are reshaped into each other."""
    inputs, sizes = list(call.of(0)), list(call.outputs[0].shape)
    if math.prod(sizes) == 0:
        raise SpaceError('a tensor without entries')
    result: list[Space] = []
    before = after = 0
    while after < len(sizes):
        start, begin = before, after
        left = right = 1
        if before < len(inputs):
            left, before = inputs[before].size, before + 1
        right, after = sizes[after], after + 1
        while left != right:
            if left < right:
                left, before = left * inputs[before].size, before + 1
            else:
                right, after = right * sizes[after], after + 1
        whole = before == start + 1 and after == begin + 1
        result += [inputs[start]] if whole else factor(inputs[start:before], sizes[begin:after])
    return [tuple(result)]


@_rule('permute')
def _permute(call: Call) -> list[Spaces]:
    inputs = call.of(0)
    return [tuple(inputs[dim] for dim in call.args[1])]


@_rule('transpose', 't')
def _transpose(call: Call) -> list[Spaces]:
    result = list(call.of(0))
    if len(result) > 1:
        one, other = call.arg(1, 'dim0', 0), call.arg(2, 'dim1', 1)
        result[one], result[other] = result[other], result[one]
    return [tuple(result)]


@_rule('expand')
def _expand(call: Call) -> list[Spaces]:
    inputs, sizes = call.of(0), call.outputs[0].shape
    added = len(sizes) - len(inputs)
    return [
        tuple(
            inputs[dim - added] if dim >= added and inputs[dim - added].size == size else Space(size)
            for dim, size in enumerate(sizes)
        )
    ]


@_rule('unsqueeze')
def _unsqueeze(call: Call) -> list[Spaces]:
    result = list(call.of(0))
    result.insert(call.args[1] % (len(result) + 1), Space(1, 'single'))
    return [tuple(result)]


@_rule('squeeze')
def _squeeze(call: Call) -> list[Spaces]:
    inputs = call.of(0)
    given = call.arg(1, 'dim')
    dims = {dim % len(inputs) for dim in ([given] if isinstance(given, int) else given or range(len(inputs)))}
    return [tuple(space for dim, space in enumerate(inputs) if dim not in dims or space.size != 1)]


@_rule('select', 'unbind')
def _select(call: Call) -> list[Spaces]:
    inputs, dim = list(call.of(0)), call.arg(1, 'dim', 0)
    inputs.pop(dim).fix('picked one by one')
    return [tuple(inputs)] * len(call.outputs)


@_rule('split', 'split_with_sizes')
def _split(call: Call) -> list[Spaces]:
    inputs = call.of(0)
    dim = call.arg(2, 'dim', 0) % len(inputs)
    parts = cut(inputs[dim], [output.shape[dim] for output in call.outputs])
    return [(*inputs[:dim], part, *inputs[dim + 1 :]) for part in parts]


@_rule('slice')
def _slice(call: Call) -> list[Spaces]:
    inputs = call.of(0)
    dim = call.arg(1, 'dim', 0) % len(inputs)
    length, size = call.outputs[0].shape[dim], inputs[dim].size
    if length == size:
        return [inputs]
    if inputs[dim].is_fixed:
        return [(*inputs[:dim], Space(length, 'position'), *inputs[dim + 1 :])]
    if call.arg(4, 'step', 1) != 1:
        inputs[dim].fix('channels taken in turns')
        return [(*inputs[:dim], Space(length, 'position'), *inputs[dim + 1 :])]
    start = call.arg(2, 'start') or 0
    start = start + size if start < 0 else start
    sizes = [start, length, size - start - length]
    parts = cut(inputs[dim], [part for part in sizes if part])
    return [(*inputs[:dim], parts[1 if start else 0], *inputs[dim + 1 :])]


@_rule('cat')
def _cat(call: Call) -> list[Spaces]:
    operands = [call.spaces(tensor) for tensor in call.args[0]]
    dim = call.arg(1, 'dim', 0) % len(operands[0])
    result = list(operands[0])
    for operand in operands[1:]:
        for position, space in enumerate(operand):
            if position != dim:
                unify(result[position], space)
    parts = [operand[dim] for operand in operands]
    fixed = all(part.is_fixed for part in parts)
    result[dim] = Space(sum(part.size for part in parts), 'position') if fixed else compose('sum', parts)
    return [tuple(result)]


@_rule('stack')
def _stack(call: Call) -> list[Spaces]:
    operands = [call.spaces(tensor) for tensor in call.args[0]]
    for operand in operands[1:]:
        for one, other in zip(operands[0], operand, strict=True):
            unify(one, other)
    result = list(operands[0])
    result.insert(call.arg(1, 'dim', 0) % (len(result) + 1), Space(len(operands), 'part'))
    return [tuple(result)]


@_rule('roll', 'flip')
def _move(call: Call) -> list[Spaces]:
    inputs = call.of(0)
    for dim in call.args[-1]:
        inputs[dim].fix('position')
    return [inputs]


@_rule('constant_pad_nd', 'reflection_pad2d', 'replication_pad2d', 'repeat', 'as_strided_')
def _resize(call: Call) -> list[Spaces]:
    """Dimensions that keep their size are untouched, the others are positions."""
    inputs, sizes = call.of(0), call.outputs[0].shape
    result = []
    for space, size in zip(inputs, sizes[len(sizes) - len(inputs) :], strict=True):
        if size != space.size and space.size > 1 and not space.is_fixed:
            raise SpaceError(f'{space.size} channels become {size}')
        result.append(space if size == space.size else Space(size, 'position'))
    return [(*positions(sizes[: len(sizes) - len(inputs)]), *result)]


@_rule('index')
def _index(call: Call) -> list[Spaces]:
    """The first dimensions are looked up by tensors of integers."""
    inputs, indices = call.of(0), call.args[1]
    looked_up = len(indices)
    if any(index is None for index in indices):
        raise SpaceError('a lookup by integers leaves out the first dimension')
    for space in inputs[:looked_up]:
        space.fix('position')
    kept = inputs[looked_up:]
    return [(*positions(call.outputs[0].shape[: call.outputs[0].ndim - len(kept)]), *kept)]


def apply(operator: Any, call: Call) -> list[Spaces]:
    """Spaces of the outputs of one operator.

    Where nothing is known about an operator, or its operands are arranged in a way that no rule
    follows, all its dimensions are fixed: it is the same operator in both models if none of them grows.

    Args:
        operator: The overload that PyTorch dispatched.
        call: The call.
    """
    name = operator.overloadpacket.__name__
    out_of_place = getattr(torch.ops.aten, name.rstrip('_'), operator.overloadpacket)
    is_elementwise = any(
        torch.Tag.pointwise in getattr(packet, packet.overloads()[0]).tags
        for packet in (operator.overloadpacket, out_of_place)
    )
    rule = RULES.get(name) or RULES.get(name.rstrip('_')) or (elementwise if is_elementwise else None)
    reason = f'operator {name!r}'
    try:
        if rule is not None:
            return rule(call)
    except SpaceError as error:
        reason = f'{reason}: {error}'
    for arg in flat([*call.args, *call.kwargs.values()]):
        if isinstance(arg, Tensor):
            for space in call.spaces(arg):
                space.fix(reason)
    return [positions(output.shape) for output in call.outputs]


def flat(values: Sequence[Any]) -> Iterator[Any]:
    """The values, those in lists and tuples among them."""
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from flat(value)
        else:
            yield value
