"""Multiply-accumulates of a training step, counted twice and compared.

MACs are the multiply-accumulates of convolutions, linear layers, matrix products and attention
(QK^T and PV); FLOPs = 2 x MACs. Normalisation, activations and pooling are not counted.
"""

from typing import NamedTuple

from mmengine.model import BaseModel
from torch import Tensor, nn

from motivation.analysis.forward_macs import ForwardMacs, count_forward
from motivation.analysis.isolation import isolated, light_copy, unwrapped
from motivation.analysis.step_macs import count_train_step, dispatch_forward
from motivation.errors import ConfigError
from motivation.training_mode import evaluation_mode, training_mode

# Share by which the two counts of a forward pass may differ.
TOLERANCE = 1e-3


class Macs(NamedTuple):
    """MACs that are affine in the batch size.

    Attributes:
        per_image: What each further image costs.
        per_batch: What a batch costs whatever its size; 0 for most networks.
    """

    per_image: int
    per_batch: int = 0

    def flops(self, batches: int, images: int) -> int:
        """FLOPs of so many batches of so many images altogether: 2 x MACs."""
        return 2 * (batches * self.per_batch + images * self.per_image)


class ModelMacs(NamedTuple):
    """What one model computes.

    Attributes:
        network: Forward pass of the network in training, which drops patches and the like.
        forward: Forward pass of a training step: the network's, and a teacher's if it has one.
        backward: Backward pass of a training step.
        inference: Forward pass of the network in evaluation mode.
    """

    network: Macs
    forward: Macs
    backward: Macs
    inference: Macs

    def train_flops(self, batches: int, images: int) -> int:
        """FLOPs of training on so many batches of so many images altogether."""
        return self.forward.flops(batches, images) + self.backward.flops(batches, images)


def check_forward(network: nn.Module, inputs: Tensor) -> None:
    """Count a forward pass by fvcore and by dispatch, which must agree.

    Args:
        network: Left untouched.
        inputs: Its input, (N, C, H, W), of which the first image serves.

    Raises:
        ConfigError: The counts differ by more than 0.1 %, or an operator has no formula.
    """
    light, image = light_copy(network), inputs[:1].cpu()
    traced, dispatched = count_forward(light, image), dispatch_forward(light, image)
    if abs(traced.total - dispatched['']) > TOLERANCE * max(traced.total, dispatched['']):
        raise ConfigError(_describe_difference(light, traced, dispatched))


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


def training_batches(model: BaseModel, sample: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Training batches of two and of four images, from which costs of an image and of a batch follow.

    Args:
        model: Prepares them.
        sample: One image as the dataset returns it, collated: every tensor (1, ...).
    """
    with isolated():
        return [
            model.data_preprocessor(
                {name: tensor.repeat(images, *[1] * (tensor.ndim - 1)) for name, tensor in sample.items()}, True
            )
            for images in (2, 4)
        ]


def measure_model(model: BaseModel, sample: dict[str, Tensor]) -> ModelMacs:
    """Count what a model computes, from batches of two and of four images.

    Args:
        model: Left untouched; its training mode is counted, whatever it is in. What is wrapped in
            data parallelism, compiled or under autocast counts as it would without.
        sample: One image as the dataset returns it, collated: every tensor (1, ...).

    Raises:
        ConfigError: An operator multiplies and has no formula, or two counts of the forward pass
            disagree.
    """
    model = unwrapped(model)
    batches = training_batches(model, sample)
    inputs = [batch['inputs'] for batch in batches]
    with training_mode(model):
        check_forward(model, inputs[0])
        network = _affine(*(dispatch_forward(model, images)[''] for images in inputs))
        steps = [count_train_step(model, batch) for batch in batches]
        forward, backward = (_affine(*counts) for counts in zip(*steps, strict=True))
    with evaluation_mode(model):
        inference = _affine(*(dispatch_forward(model, images)[''] for images in inputs))
        if inference != network:
            check_forward(model, inputs[0])
    return ModelMacs(network, forward, backward, inference)


def _affine(two: int, four: int) -> Macs:
    """From the MACs of two images and those of four."""
    per_image = (four - two) // 2
    return Macs(per_image, two - 2 * per_image)
