"""Rules for operators that rearrange tensors."""

import math

from motivation.weight_maps.tracing.rules import Call, Spaces, positions, rule
from motivation.weight_maps.tracing.spaces import Space, SpaceError, compose, cut, factor, unify


@rule(
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


@rule('view', '_unsafe_view', 'reshape', '_reshape_copy', 'reshape_copy')
def _view(call: Call) -> list[Spaces]:
    """Match the smallest runs of neighbouring dimensions whose sizes have the same product."""
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
        unchanged = before == start + 1 and after == begin + 1
        result += [inputs[start]] if unchanged else factor(inputs[start:before], sizes[begin:after])
    return [tuple(result)]


@rule('permute')
def _permute(call: Call) -> list[Spaces]:
    inputs = call.of(0)
    return [tuple(inputs[dim] for dim in call.args[1])]


@rule('transpose', 't')
def _transpose(call: Call) -> list[Spaces]:
    result = list(call.of(0))
    if len(result) > 1:
        first, second = call.arg(1, 'dim0', 0), call.arg(2, 'dim1', 1)
        result[first], result[second] = result[second], result[first]
    return [tuple(result)]


@rule('expand')
def _expand(call: Call) -> list[Spaces]:
    inputs, sizes = call.of(0), call.outputs[0].shape
    added = len(sizes) - len(inputs)
    return [
        tuple(
            inputs[dim - added] if dim >= added and inputs[dim - added].size == size else Space(size)
            for dim, size in enumerate(sizes)
        )
    ]


@rule('unsqueeze')
def _unsqueeze(call: Call) -> list[Spaces]:
    result = list(call.of(0))
    result.insert(call.args[1] % (len(result) + 1), Space(1, 'single'))
    return [tuple(result)]


@rule('squeeze')
def _squeeze(call: Call) -> list[Spaces]:
    inputs = call.of(0)
    given = call.arg(1, 'dim')
    dims = {dim % len(inputs) for dim in ([given] if isinstance(given, int) else given or range(len(inputs)))}
    return [tuple(space for dim, space in enumerate(inputs) if dim not in dims or space.size != 1)]


@rule('select', 'unbind')
def _select(call: Call) -> list[Spaces]:
    inputs, dim = list(call.of(0)), call.arg(1, 'dim', 0)
    inputs.pop(dim).fix('selected one by one')
    return [tuple(inputs)] * len(call.outputs)


@rule('split', 'split_with_sizes')
def _split(call: Call) -> list[Spaces]:
    inputs = call.of(0)
    dim = call.arg(2, 'dim', 0) % len(inputs)
    parts = cut(inputs[dim], [output.shape[dim] for output in call.outputs])
    return [(*inputs[:dim], part, *inputs[dim + 1 :]) for part in parts]


@rule('glu')
def _glu(call: Call) -> list[Spaces]:
    inputs = call.of(0)
    dim = call.arg(1, 'dim', -1) % len(inputs)
    value, gate = cut(inputs[dim], [inputs[dim].size // 2] * 2)
    unify(value, gate)
    return [(*inputs[:dim], value, *inputs[dim + 1 :])]


@rule('slice')
def _slice(call: Call) -> list[Spaces]:
    inputs = call.of(0)
    dim = call.arg(1, 'dim', 0) % len(inputs)
    length, size = call.outputs[0].shape[dim], inputs[dim].size
    if length == size:
        return [inputs]
    if inputs[dim].is_fixed:
        return [(*inputs[:dim], Space(length, 'position'), *inputs[dim + 1 :])]
    if call.arg(4, 'step', 1) != 1:
        inputs[dim].fix('slice with a step')
        return [(*inputs[:dim], Space(length, 'position'), *inputs[dim + 1 :])]
    start = call.arg(2, 'start') or 0
    start = start + size if start < 0 else start
    sizes = [start, length, size - start - length]
    parts = cut(inputs[dim], [part for part in sizes if part])
    return [(*inputs[:dim], parts[1 if start else 0], *inputs[dim + 1 :])]


@rule('cat')
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


@rule('stack')
def _stack(call: Call) -> list[Spaces]:
    operands = [call.spaces(tensor) for tensor in call.args[0]]
    for operand in operands[1:]:
        for one, other in zip(operands[0], operand, strict=True):
            unify(one, other)
    result = list(operands[0])
    result.insert(call.arg(1, 'dim', 0) % (len(result) + 1), Space(len(operands), 'part'))
    return [tuple(result)]


@rule('roll', 'flip')
def _move(call: Call) -> list[Spaces]:
    inputs = call.of(0)
    for dim in call.args[-1]:
        inputs[dim].fix('position')
    return [inputs]


@rule('constant_pad_nd', 'reflection_pad2d', 'replication_pad2d', 'repeat', 'as_strided_')
def _resize(call: Call) -> list[Spaces]:
    """Keep the dimensions that keep their size; the others are positions."""
    inputs, sizes = call.of(0), call.outputs[0].shape
    result = []
    for space, size in zip(inputs, sizes[len(sizes) - len(inputs) :], strict=True):
        if size != space.size and space.size > 1 and not space.is_fixed:
            raise SpaceError(f'{space.size} channels become {size}')
        result.append(space if size == space.size else Space(size, 'position'))
    return [(*positions(sizes[: len(sizes) - len(inputs)]), *result)]


@rule('index')
def _index(call: Call) -> list[Spaces]:
    """Look up the first dimensions by tensors of integers."""
    inputs, indices = call.of(0), call.args[1]
    looked_up = len(indices)
    if any(index is None for index in indices):
        raise SpaceError('a lookup by integers leaves out the first dimension')
    for space in inputs[:looked_up]:
        space.fix('position')
    kept = inputs[looked_up:]
    return [(*positions(call.outputs[0].shape[: call.outputs[0].ndim - len(kept)]), *kept)]
