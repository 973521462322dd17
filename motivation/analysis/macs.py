"""Multiply-accumulates of a training step, counted twice and compared.

MACs are the multiply-accumulates of convolutions, linear layers, matrix products and attention
(QK^T and PV); FLOPs = 2 x MACs. Normalisation, activations and pooling are not counted.
"""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from mmengine.model import BaseModel
from torch import Tensor, nn

from motivation.analysis.forward_macs import ForwardMacs, count_forward
from motivation.analysis.isolation import isolated, light_copy, unwrapped
from motivation.analysis.step_macs import count_train_step, dispatch_forward
from motivation.errors import ConfigError, one_line
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


class StepMacs(NamedTuple):
    """What a training step computes.

    Attributes:
        forward: Forward pass: the network's, and a teacher's if there is one.
        backward: Backward pass.
    """

    forward: Macs
    backward: Macs

    def flops(self, batches: int, images: int) -> int:
        """FLOPs of training on so many batches of so many images altogether."""
        return self.forward.flops(batches, images) + self.backward.flops(batches, images)


class ModelMacs(NamedTuple):
    """What one model computes.

    Attributes:
        network: Forward pass of the network in training, which drops patches and the like.
        step: The model's own training step.
        inference: Forward pass of the network in evaluation mode.
        distillation: Step of in-place distillation, if there is to be one.
    """

    network: Macs
    step: StepMacs
    inference: Macs
    distillation: StepMacs | None = None


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
    if abs(traced.total - dispatched.forward) > TOLERANCE * max(traced.total, dispatched.forward):
        dispatched = dispatch_forward(light, image, by_module=True)
        by_module = {name: forward for name, (forward, _) in dispatched.modules.items()}
        raise ConfigError(_describe_difference(light, traced, by_module))


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


def training_batches(model: BaseModel, sample: dict[str, Any]) -> list[dict[str, Any]]:
    """Training batches of two, four and six images, from which costs of an image and of a batch follow.

    Args:
        model: Prepares them.
        sample: One image as the dataset returns it, collated: every tensor (1, ...).
    """
    with isolated():
        return [model.data_preprocessor(_repeat(sample, images), True) for images in (2, 4, 6)]


def _repeat(sample: dict[str, Any], images: int) -> dict[str, Any]:
    def repeat(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.repeat(images, *[1] * (value.ndim - 1))
        return value * images if isinstance(value, list) else value

    return {name: repeat(value) for name, value in sample.items()}


def measure_model(model: BaseModel, sample: dict[str, Any], distillation: bool = False) -> ModelMacs:
    """Count what a model computes, from batches of two, four and six images.

    Args:
        model: Left untouched; its training mode is counted, whatever it is in. What is wrapped in
            data parallelism, compiled or under autocast counts as it would without.
        sample: One image as the dataset returns it, collated: every tensor (1, ...).
        distillation: Whether to count a step of in-place distillation too.

    Raises:
        ConfigError: An operator multiplies and has no formula, two counts of the forward pass
            disagree, the cost is not affine in the number of images, no parameter trains, or the
            model does not run.
    """
    model = unwrapped(model)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            f'{_label(model)} has nothing to train: requires_grad is False for all of its parameters; unfreeze some'
        )
    with _said_in_a_sentence(model, sample):
        batches = training_batches(model, sample)
        with training_mode(model):
            check_forward(model, batches[0]['inputs'])
            network = _affine(model, [dispatch_forward(model, batch['inputs']).forward for batch in batches[:2]])
            step = _measure_step(model, batches)
            distilling = _measure_step(model, batches, distillation=True) if distillation else None
    return ModelMacs(network, step, measure_inference(model, sample, network), distilling)


def measure_inference(model: BaseModel, sample: dict[str, Any], checked: Macs | None = None) -> Macs:
    """Count the forward pass of a model in evaluation mode.

    Args:
        model: As of :func:`measure_model`.
        sample: Likewise.
        checked: A count that need not be compared with fvcore's any more.

    Raises:
        ConfigError: As of :func:`measure_model`.
    """
    model = unwrapped(model)
    with _said_in_a_sentence(model, sample), isolated(), evaluation_mode(model):
        batches = [model.data_preprocessor(_repeat(sample, images), False) for images in (2, 4)]
        inference = _affine(model, [dispatch_forward(model, batch['inputs']).forward for batch in batches])
        if inference != checked:
            check_forward(model, batches[0]['inputs'])
    return inference


def _measure_step(model: BaseModel, batches: list[dict[str, Any]], distillation: bool = False) -> StepMacs:
    counts = [count_train_step(model, batch, distillation) for batch in batches]
    forward = _affine(model, [count.forward for count in counts])
    return StepMacs(forward, _affine(model, [count.backward for count in counts]))


def _affine(model: BaseModel, counts: list[int]) -> Macs:
    """From the MACs of two, of four and maybe of six images."""
    two, four, *six = counts
    if six and six[0] - four != four - two:
        raise ConfigError(
            f'{_label(model)} multiplies and adds {two:,}, {four:,} and {six[0]:,} times for 2, 4 and 6 images, which is '
            'no fixed cost of an image and of a batch; compute that grows otherwise, as between the images of a batch, '
            'cannot be added up: take it out of the training step'
        )
    per_image = (four - two) // 2
    return Macs(per_image, two - 2 * per_image)


@contextmanager
def _said_in_a_sentence(model: BaseModel, sample: dict[str, Any]) -> Iterator[None]:
    """Errors of a model that does not run: what, on what, and where."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # a model's own code raises anything
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [frame for frame in frames if f'{os.sep}torch{os.sep}' not in frame.filename] or frames
        size = ' x '.join(map(str, sample['inputs'].shape[1:]))
        raise ConfigError(
            f'{_label(model)} does not run on batches of 2, 4 and 6 images of {size}, on which its compute is counted: '
            f'{type(error).__name__}: {one_line(str(error), 200)} (line {theirs[-1].lineno} of {theirs[-1].filename}); '
            'mend the model, or the size of the images'
        ) from error


def _label(model: BaseModel) -> str:
    name = getattr(model, 'model_name', None)
    return f'model {name!r}' if name else f'the model of class {type(model).__name__}'
