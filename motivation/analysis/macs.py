"""Multiply-accumulates of a training step, counted twice and compared.

MACs are the multiply-accumulates of convolutions, linear layers, matrix products and attention
(QK^T and PV); FLOPs = 2 x MACs. Normalisation, activations and pooling are not counted.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from mmengine.model import BaseModel
from torch import Tensor, nn

from motivation.analysis.forward_macs import ForwardMacs, count_forward
from motivation.analysis.step_macs import count_train_step, dispatch_forward
from motivation.errors import ConfigError
from motivation.random_state import preserved_random_state

T = TypeVar('T')

# Share by which the two counts of a forward pass may differ.
TOLERANCE = 1e-3


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


def checked_forward(network: nn.Module, inputs: Tensor) -> ForwardMacs:
    """Count a forward pass by fvcore and by dispatch, which must agree.

    Args:
        network: Left untouched.
        inputs: Its input, (N, C, H, W).

    Returns:
        MACs of all N images together.

    Raises:
        ConfigError: The counts differ by more than 0.1 %, or an operator has no formula.
    """
    traced, dispatched = count_forward(network, inputs), dispatch_forward(network, inputs)
    if abs(traced.total - dispatched['']) > TOLERANCE * max(traced.total, dispatched['']):
        raise ConfigError(_describe_difference(network, traced, dispatched))
    return traced


def _describe_difference(network: nn.Module, traced: ForwardMacs, dispatched: dict[str, int]) -> str:
    """Name the innermost module at which the counts part."""
    differing = [
        name for name, _ in network.named_modules() if traced.by_module.get(name, 0) != dispatched.get(name, 0)
    ]
    innermost = max(differing, key=lambda name: name.count('.') + bool(name), default='')
    module = network.get_submodule(innermost)
    return (
        f'the forward MACs of {type(network).__name__} are {traced.total:,} by fvcore and {dispatched[""]:,} by '
        f'dispatch; they part in {innermost or "the whole"!r} ({type(module).__name__}: '
        f'{traced.by_module.get(innermost, 0):,} and {dispatched.get(innermost, 0):,}): an operator there is counted '
        'wrongly by one of them; give its formula with motivation.analysis.register_formula'
    )


def count_at_two_sizes(model: BaseModel, sample: dict[str, Tensor], count: Callable[[dict[str, Tensor]], T]) -> list[T]:
    """What ``count`` says of training batches of two and of four images.

    Args:
        model: In training mode meanwhile; otherwise left untouched.
        sample: One image as the dataset returns it, collated: every tensor (1, ...).
        count: Gets a batch as the model's data preprocessor returns it.
    """
    was_training = model.training
    model.train()
    counts = []
    with preserved_random_state():
        for images in (2, 4):
            batch = {name: tensor.repeat(images, *[1] * (tensor.ndim - 1)) for name, tensor in sample.items()}
            counts.append(count(model.data_preprocessor(batch, True)))
    model.train(was_training)
    return counts


def measure_train_step(model: BaseModel, sample: dict[str, Tensor]) -> TrainStepMacs:
    """Count the training step of a model from batches of two and of four images.

    Args:
        model: Left untouched.
        sample: One image as the dataset returns it, collated: every tensor (1, ...).

    Raises:
        ConfigError: An operator multiplies and has no formula, or two counts of the forward pass
            disagree.
    """
    (network_2, forward_2, backward_2), (network_4, forward_4, backward_4) = count_at_two_sizes(
        model, sample, lambda data: (checked_forward(model, data['inputs']).total, *count_train_step(model, data))
    )
    network, forward, backward = (
        (network_4 - network_2) // 2,
        (forward_4 - forward_2) // 2,
        (backward_4 - backward_2) // 2,
    )
    return TrainStepMacs(network, backward, forward_2 + backward_2 - 2 * (forward + backward), forward - network)
