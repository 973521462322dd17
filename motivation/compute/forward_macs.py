"""MACs of a forward pass, counted by fvcore in a trace."""

import math
import warnings
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils._pytree import tree_map

from motivation.compute import formulas
from motivation.compute.isolation import isolated, light_copy, plain_copy
from motivation.errors import ConfigError
from motivation.utils.batches import Inputs, run_network

with warnings.catch_warnings():
    warnings.simplefilter('ignore', FutureWarning)  # raised while fvcore is imported
    from fvcore.nn import FlopCountAnalysis


class ForwardMacs(NamedTuple):
    """MACs of one forward pass of a whole batch.

    Attributes:
        total: MACs of the whole network.
        by_module: MACs of each module, with its children, by dotted name; ``''`` is the whole network.
    """

    total: int
    by_module: dict[str, int]


# A handle takes the inputs and outputs of a traced operator and returns its MACs.
def _shape(value: Any) -> list[int]:
    return value.type().sizes()


def _product_handle(left: int) -> Any:
    """Return the handle of a matrix product, which sums over the last dimension of input number ``left``."""
    return lambda inputs, outputs: math.prod(_shape(outputs[0])) * _shape(inputs[left])[-1]


def _addbmm(inputs: list[Any], outputs: list[Any]) -> int:
    """Sum of a batch of products: (B, N, M) @ (B, M, P) -> (N, P)."""
    return math.prod(_shape(inputs[1])) * _shape(inputs[2])[-1]


def _attention(inputs: list[Any], outputs: list[Any]) -> int:
    return formulas.attention_macs(*(_shape(tensor) for tensor in inputs[:3]))


def _convolution_mode(inputs: list[Any], outputs: list[Any]) -> int:
    """Convolution with padding='same' or 'valid': the kernel once per output position."""
    output = _shape(outputs[0])
    return output[0] * math.prod(output[2:]) * math.prod(_shape(inputs[1]))


def _einsum(inputs: list[Any], outputs: list[Any]) -> int:
    return formulas.einsum_macs(inputs[0].toIValue(), [_shape(tensor) for tensor in inputs[1].node().inputs()])


def _recurrent(inputs: list[Any], outputs: list[Any]) -> int:
    """A whole layer: its lists hold weights (2-D), biases (1-D) and initial states (3-D)."""
    lists = [argument.node() for argument in inputs if argument.node().kind() == 'prim::ListConstruct']
    shapes = [_shape(tensor) for node in lists for tensor in node.inputs()]
    return formulas.recurrent_macs(_shape(inputs[0]), [shape for shape in shapes if len(shape) == 2])


def _recurrent_cell(inputs: list[Any], outputs: list[Any]) -> int:
    """One step: input, state, weight of the input, weight of the state."""
    return formulas.recurrent_macs(_shape(inputs[0]), [_shape(weight) for weight in inputs[2:4]])


def _numbers(value: Any) -> list[int]:
    return value.toIValue() or [item.toIValue() for item in value.node().inputs()]


def _tensordot(inputs: list[Any], outputs: list[Any]) -> int:
    """Every output element sums over the dimensions of the first input that the third input lists."""
    left = _shape(inputs[0])
    return math.prod(_shape(outputs[0])) * math.prod(left[dimension] for dimension in _numbers(inputs[2]))


def _nothing(inputs: list[Any], outputs: list[Any]) -> int:
    return 0


_HANDLES = {
    # Missing in fvcore, or counted wrongly for broadcast and vector operands.
    'aten::matmul': _product_handle(0),
    'aten::mv': _product_handle(0),
    'aten::dot': _product_handle(0),
    'aten::vdot': _product_handle(0),
    'aten::baddbmm': _product_handle(1),
    'aten::addmv': _product_handle(1),
    'aten::addbmm': _addbmm,
    'aten::einsum': _einsum,
    'aten::inner': _product_handle(0),
    'aten::tensordot': _tensordot,
    'aten::scaled_dot_product_attention': _attention,
    'aten::_convolution_mode': _convolution_mode,
    **{f'aten::{name}': _recurrent for name in ('lstm', 'gru', 'rnn_tanh', 'rnn_relu')},
    **{f'aten::{name}_cell': _recurrent_cell for name in ('lstm', 'gru', 'rnn_tanh', 'rnn_relu')},
    # Counted by fvcore, but not MACs by the definition in motivation.compute.macs.
    'aten::batch_norm': _nothing,
    'aten::group_norm': _nothing,
    'aten::layer_norm': _nothing,
    'aten::instance_norm': _nothing,
    'aten::adaptive_avg_pool2d': _nothing,
    'aten::upsample_nearest2d': _nothing,
    'aten::upsample_bilinear2d': _nothing,
    'aten::grid_sampler': _nothing,
}


def _custom_handle(operator: str) -> Any:
    def value(argument: Any) -> Any:
        if argument.node().kind() == 'prim::ListConstruct':
            return [value(item) for item in argument.node().inputs()]
        return _shape(argument) if argument.type().kind() == 'TensorType' else argument.toIValue()

    return lambda inputs, outputs: formulas.custom_macs(operator, *map(value, inputs), output=_shape(outputs[0]))


def count_forward(network: nn.Module, inputs: Inputs) -> ForwardMacs:
    """Count the MACs of one forward pass.

    Args:
        network: The network, which does not change: a copy with weights of zero is traced in its current mode.
        inputs: The network's input, or its inputs by name.

    Returns:
        MACs of all samples together.

    Raises:
        ConfigError: An operator that multiplies has no formula.
    """
    handles = {**_HANDLES, **{name: _custom_handle(name) for name in formulas.CUSTOM}}
    with isolated():
        try:
            return _trace(light_copy(network), inputs, handles)
        except ConfigError:
            raise
        except Exception:  # weights of zero fail in some networks, such as those that invert one
            return _trace(plain_copy(network).cpu(), inputs, handles)


def _trace(traced: nn.Module, inputs: Inputs, handles: dict[str, Any]) -> ForwardMacs:
    checkpointing = getattr(traced, 'set_grad_checkpointing', None)
    if callable(checkpointing):
        checkpointing(False)  # which changes no forward pass, but makes tracing fail
    named = {'inputs': inputs} if isinstance(inputs, Tensor) else inputs
    run = traced if set(named) == {'inputs'} else _WithNames(traced, tuple(named))
    given = tuple(tree_map(lambda value: value.cpu() if isinstance(value, Tensor) else value, [*named.values()]))
    analysis = FlopCountAnalysis(run, given).set_op_handle(**handles)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings('none')
    total = int(analysis.total())
    for operator in sorted(analysis.unsupported_ops()):
        if formulas.needs_formula(operator):
            raise formulas.missing_formula(operator)
    inside = 'network.' if run is not traced else ''
    by_module = {name.removeprefix(inside): int(macs) for name, macs in analysis.by_module().items()}
    return ForwardMacs(total, by_module)


class _WithNames(nn.Module):
    """Calls a network with inputs by name, which fvcore passes by position."""

    def __init__(self, network: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.names = names

    def forward(self, *inputs: Any) -> Any:
        """Run the network."""
        return run_network(self.network, dict(zip(self.names, inputs, strict=True)))
