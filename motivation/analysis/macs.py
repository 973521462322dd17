"""Multiply-accumulates of a training step: forward by fvcore, forward and backward by dispatch.

MACs are the multiply-accumulates of convolutions, linear layers, matrix products and attention
(QK^T and PV); FLOPs = 2 x MACs. Normalisation, activations and pooling are not counted.
"""

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from motivation.random_state import preserved_random_state

with warnings.catch_warnings():
    warnings.simplefilter('ignore', FutureWarning)  # fvcore scripts a loss while it is imported
    from fvcore.nn import FlopCountAnalysis

# ----------------------------------------------------------------------------------------------------
# Forward, by fvcore. A handle gets the inputs and outputs of a traced operator and returns its MACs.


def _shape(value: Any) -> list[int]:
    return value.type().sizes()


def _product_handle(left: int) -> Callable[[list[Any], list[Any]], int]:
    """Matrix products: every output element sums over the last dimension of input number ``left``."""
    return lambda inputs, outputs: math.prod(_shape(outputs[0])) * _shape(inputs[left])[-1]


def _addbmm(inputs: list[Any], outputs: list[Any]) -> int:
    """Sum of a batch of products: (B, N, M) @ (B, M, P) -> (N, P)."""
    return math.prod(_shape(inputs[1])) * _shape(inputs[2])[-1]


def _attention(inputs: list[Any], outputs: list[Any]) -> int:
    """QK^T and PV for Q (..., L, E), K (..., S, E), V (..., S, D): (...) x L x S x (E + D)."""
    query, key, value = (_shape(tensor) for tensor in inputs[:3])
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _convolution_mode(inputs: list[Any], outputs: list[Any]) -> int:
    """Convolution with padding='same' or 'valid': the kernel once for each output position."""
    output = _shape(outputs[0])
    return output[0] * math.prod(output[2:]) * math.prod(_shape(inputs[1]))


def _nothing(inputs: list[Any], outputs: list[Any]) -> int:
    return 0


_HANDLES = {
    # What fvcore lacks, or counts wrongly for broadcast and vector operands.
    'aten::matmul': _product_handle(0),
    'aten::mv': _product_handle(0),
    'aten::dot': _product_handle(0),
    'aten::baddbmm': _product_handle(1),
    'aten::addmv': _product_handle(1),
    'aten::addbmm': _addbmm,
    'aten::scaled_dot_product_attention': _attention,
    'aten::_convolution_mode': _convolution_mode,
    # What fvcore counts though it is no multiply-accumulate of the definition above.
    'aten::batch_norm': _nothing,
    'aten::group_norm': _nothing,
    'aten::layer_norm': _nothing,
    'aten::instance_norm': _nothing,
    'aten::adaptive_avg_pool2d': _nothing,
    'aten::upsample_nearest2d': _nothing,
    'aten::upsample_bilinear2d': _nothing,
    'aten::grid_sampler': _nothing,
}


def count_forward(network: nn.Module, inputs: Tensor) -> int:
    """MACs of one forward pass.

    Args:
        network: Left untouched: a copy is traced, in the mode (training or evaluation) it is in.
        inputs: The network's input, (N, C, H, W).

    Returns:
        MACs of all N images together.
    """
    traced = copy.deepcopy(network).cpu()
    with preserved_random_state():
        analysis = FlopCountAnalysis(traced, inputs.cpu()).set_op_handle(**_HANDLES)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings('none')
        return int(analysis.total())


# ----------------------------------------------------------------------------------------------------
# Forward and backward, by the operators that a real training step dispatches, over fake tensors.


def _convolution_backward_flops(
    grad_output: torch.Size,
    inputs: torch.Size,
    weight: torch.Size,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    output_mask: list[bool],
    out_shape: Any = None,
    **_: Any,
) -> int:
    """Gradient to the input and gradient to the weight: as many MACs as the forward pass, each.

    torch's own formula forgets to divide the weight gradient by ``groups``.
    """
    positions = inputs if transposed else grad_output
    forward_macs = positions[0] * math.prod(positions[2:]) * math.prod(weight)
    return 2 * forward_macs * (int(output_mask[0]) + int(output_mask[1]))


def _attention_flops(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any) -> int:
    """QK^T and PV, see :func:`_attention`."""
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _attention_backward_flops(
    grad_output: torch.Size, query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any
) -> int:
    """Scores anew (E), gradients of scores and of V (D each), gradients of Q and of K (E each)."""
    return 2 * math.prod(query[:-1]) * key[-2] * (3 * query[-1] + 2 * value[-1])


# What torch counts wrongly or, for attention on the CPU, not at all.
_FORMULAS = {
    torch.ops.aten.convolution_backward: _convolution_backward_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
}


def count_train_step(model: BaseModel, data: dict[str, Tensor]) -> tuple[int, int]:
    """MACs of forward and backward of one training step, dispatched over fake tensors.

    Nothing is computed and nothing of the model changes: weights, statistics, gradients, random
    state.

    Args:
        model: A model in training mode.
        data: A batch as its data preprocessor returns it.

    Returns:
        Forward MACs and backward MACs of the whole batch.
    """
    state: dict[str, Tensor]
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        state = {name: fake.from_tensor(tensor) for name, tensor in model.named_parameters()}
        state |= {name: fake.from_tensor(tensor) for name, tensor in model.named_buffers()}
        fake_data = {name: fake.from_tensor(tensor) for name, tensor in data.items()}
        with FlopCounterMode(display=False, custom_mapping=_FORMULAS) as forward:
            losses = torch.func.functional_call(model, state, kwargs={**fake_data, 'mode': 'loss'})
            loss, _ = model.parse_losses(losses)
        with FlopCounterMode(display=False, custom_mapping=_FORMULAS) as backward:
            loss.backward()
    return forward.get_total_flops() // 2, backward.get_total_flops() // 2


# ----------------------------------------------------------------------------------------------------


class TrainStepMacs(NamedTuple):
    """MACs of a training step of one model, affine in the batch size.

    Attributes:
        forward_macs_per_image: Forward MACs of the network that each further image costs.
        backward_macs_per_image: Backward MACs that each further image costs.
        fixed_macs: MACs of a step whatever its batch size; 0 for most networks.
        further_macs_per_image: What a training step computes for each further image beside the
            network's own two passes, such as a teacher's forward pass; 0 for most.
    """

    forward_macs_per_image: int
    backward_macs_per_image: int
    fixed_macs: int
    further_macs_per_image: int = 0

    def train_flops(self, iters: int, images: int) -> int:
        """FLOPs of ``iters`` training steps on ``images`` images altogether: 2 x MACs."""
        per_image = self.forward_macs_per_image + self.backward_macs_per_image + self.further_macs_per_image
        return 2 * (iters * self.fixed_macs + images * per_image)


def measure_train_step(model: BaseModel, sample: dict[str, Tensor]) -> TrainStepMacs:
    """Count the training step of a model from batches of two and of four images.

    Args:
        model: Left untouched.
        sample: One image as the dataset returns it, collated: every tensor (1, ...).
    """
    was_training = model.training
    model.train()
    counts = []
    with preserved_random_state():
        for images in (2, 4):
            batch = {name: tensor.repeat(images, *[1] * (tensor.ndim - 1)) for name, tensor in sample.items()}
            data = model.data_preprocessor(batch, True)
            counts.append((count_forward(model, data['inputs']), *count_train_step(model, data)))
    model.train(was_training)
    (network_2, forward_2, backward_2), (network_4, forward_4, backward_4) = counts
    network, forward, backward = (
        (network_4 - network_2) // 2,
        (forward_4 - forward_2) // 2,
        (backward_4 - backward_2) // 2,
    )
    return TrainStepMacs(network, backward, forward_2 + backward_2 - 2 * (forward + backward), forward - network)
