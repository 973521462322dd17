"""Rules for operators that compute with weights or take statistics."""

from torch import Tensor

from motivation.weight_maps.tracing.rules import Call, Spaces, positions, rule
from motivation.weight_maps.tracing.spaces import Space, compose, unify


@rule('convolution', '_convolution')
def _convolution(call: Call) -> list[Spaces]:
    inputs, weight = call.of(0), call.of(1)
    transposed, groups = call.args[6], call.args[8]
    read, written = (weight[0], weight[1]) if transposed else (weight[1], weight[0])
    channels = written
    if groups > 1:
        # One space covers all groups, the other has the channels of one group.
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


@rule('embedding')
def _embedding(call: Call) -> list[Spaces]:
    """Rows of a table (rows, channels), looked up by integers of any shape."""
    table, indices = call.of(0), call.of(1)
    table[0].fix('looked up by index')
    return [(*indices, table[1])]


@rule('_embedding_bag', '_embedding_bag_forward_only')
def _embedding_bag(call: Call) -> list[Spaces]:
    """Sums, means or maxima of rows of a table (rows, channels), one per bag."""
    table, (bags, *others) = call.of(0), call.outputs
    table[0].fix('looked up by index')
    return [(*positions(bags.shape[:1]), table[1]), *(positions(other.shape) for other in others)]


@rule('mm', 'bmm', 'mv', 'dot')
def _matmul(call: Call) -> list[Spaces]:
    return _contract(call.of(0), call.of(1))


def _contract(left: Spaces, right: Spaces) -> list[Spaces]:
    """(B, M, K) @ (B, K, N): the B are the same and so are the K."""
    *left_batch, left_inner = left
    batch = len(left) - 2 if len(right) > 1 else 0
    unify(left_inner, right[batch] if len(right) > 1 else right[0])
    for one, other in zip(left[:batch], right[:batch], strict=True):
        unify(one, other)
    return [(*left_batch, *right[batch + 1 :])]


@rule('addmm', 'baddbmm', 'addmv')
def _matmul_and_bias(call: Call) -> list[Spaces]:
    (product,) = _contract(call.of(1), call.of(2))
    for bias, space in zip(reversed(call.of(0)), reversed(product), strict=False):
        if bias.size > 1 or space.size == 1:
            unify(bias, space)
    return [product]


@rule(
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


@rule('native_batch_norm', '_native_batch_norm_legit', '_native_batch_norm_legit_no_training', 'cudnn_batch_norm')
def _batch_norm(call: Call) -> list[Spaces]:
    inputs = call.of(0)
    for arg in call.args[1:5]:
        if isinstance(arg, Tensor):
            unify(inputs[1], call.spaces(arg)[0])
    if call.args[3] is None:  # no running statistics, as in weight standardisation
        call.reduced += [inputs[0], *inputs[2:]]
    return [inputs, *(positions(output.shape) for output in call.outputs[1:])]


@rule('native_layer_norm')
def _layer_norm(call: Call) -> list[Spaces]:
    inputs, normalised = call.of(0), len(call.args[1])
    for arg in call.args[2:4]:
        if isinstance(arg, Tensor):
            for one, other in zip(inputs[-normalised:], call.spaces(arg), strict=True):
                unify(one, other)
    call.reduced += inputs[-normalised:]
    return [inputs, *(positions(output.shape) for output in call.outputs[1:])]


@rule('native_group_norm')
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


@rule('mean', 'sum', 'amax', 'amin', 'prod', 'logsumexp', 'var', 'var_mean', 'std', 'max', 'min')
def _reduce(call: Call) -> list[Spaces]:
    return _reduce_along(call, call.arg(1, 'dim'))


@rule('linalg_vector_norm')
def _vector_norm(call: Call) -> list[Spaces]:
    return _reduce_along(call, call.arg(2, 'dim'))


def _reduce_along(call: Call, given: int | list[int] | None) -> list[Spaces]:
    inputs = call.of(0)
    dims = {dim % len(inputs) for dim in ([given] if isinstance(given, int) else given or range(len(inputs)))}
    call.reduced += [inputs[dim] for dim in dims]
    if call.outputs[0].ndim == len(inputs):
        result = tuple(Space(1, 'single') if dim in dims else space for dim, space in enumerate(inputs))
    else:
        result = tuple(space for dim, space in enumerate(inputs) if dim not in dims)
    return [result] * len(call.outputs)


@rule('_softmax', '_log_softmax', 'cumsum', '_safe_softmax')
def _along_a_dimension(call: Call) -> list[Spaces]:
    inputs = call.of(0)
    call.reduced.append(inputs[call.args[1]])
    return [inputs]


@rule(
    'avg_pool2d', 'max_pool2d', 'max_pool2d_with_indices', '_adaptive_avg_pool2d', 'adaptive_max_pool2d',
    'upsample_nearest2d', 'upsample_bilinear2d', 'upsample_bicubic2d',
)  # fmt: skip
def _pool(call: Call) -> list[Spaces]:
    inputs = call.of(0)
    return [(*inputs[:-2], *positions(output.shape[-2:])) for output in call.outputs]
