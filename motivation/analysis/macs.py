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
    traced, dispatched = count_forward(network, image), dispatch_forward(light, image)
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
        f'{traced.by_module.get(innermost, 0):,} and {dispatched.get(innermost, 0):,}): either an operator '
        'there is counted wrongly by one of them (give its formula with motivation.analysis.register_formula), or what the '
        'module computes depends on the values it is given, which cannot be priced beforehand'
    )


def training_batches(sample: dict[str, Any], batch_size: int | None = None) -> list[dict[str, Any]]:
    """Batches of two and four images, from which costs of an image and of a batch follow, and more to check them by.

    Args:
        sample: One image as the dataset returns it, collated: every tensor (1, ...).
        batch_size: Images of the last one, after one of six, if above that.
    """
    sizes = [2, 4, 6]
    if batch_size is not None and batch_size > 6:
        sizes.append(batch_size)
    with isolated():
        return [_repeat(sample, images) for images in sizes]


def _repeat(sample: dict[str, Any], images: int) -> dict[str, Any]:
    def repeat(value: Any) -> Any:
        if isinstance(value, Tensor) and value.ndim:
            sizes = [1] * (value.ndim - 1)
            return value.repeat(images, *sizes) if images <= 6 else value.expand(images, *[-1] * len(sizes))
        return value * images if isinstance(value, list) else value

    return {name: repeat(value) for name, value in sample.items()}


def measure_model(
    model: BaseModel, sample: dict[str, Any], distillation: bool = False, batch_size: int | None = None
) -> ModelMacs:
    """Count what a model computes, from batches of a few images and one as large as those of the run.

    Args:
        model: Left untouched; its training mode is counted, whatever it is in. What is wrapped in
            data parallelism, compiled or under autocast counts as it would without.
        sample: One image as the dataset returns it, collated: every tensor (1, ...).
        distillation: Whether to count a step of in-place distillation too.
        batch_size: Images of a batch that is to cost what follows from these.

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
        batches = training_batches(sample, batch_size)
        with training_mode(model):
            with isolated():
                inputs = [model.data_preprocessor(batch, True)['inputs'] for batch in batches[:2]]
            check_forward(model, inputs[0])
            network = _affine(model, [2, 4], [dispatch_forward(model, images).forward for images in inputs])
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
        inference = _affine(model, [2, 4], [dispatch_forward(model, batch['inputs']).forward for batch in batches])
        if inference != checked:
            check_forward(model, batches[0]['inputs'])
    return inference


def _measure_step(model: BaseModel, batches: list[dict[str, Any]], distillation: bool = False) -> StepMacs:
    counts = [count_train_step(model, batch, distillation) for batch in batches]
    sizes = [len(batch['inputs']) for batch in batches]
    forward = _affine(model, sizes, [count.forward for count in counts])
    return StepMacs(forward, _affine(model, sizes, [count.backward for count in counts]))


def _affine(model: BaseModel, sizes: list[int], counts: list[int]) -> Macs:
    """What an image and what a batch costs, if the MACs of batches of these sizes are made of that."""
    per_image = (counts[1] - counts[0]) // (sizes[1] - sizes[0])
    macs = Macs(per_image, counts[0] - sizes[0] * per_image)
    if min(macs) < 0 or any(2 * count != macs.flops(1, size) for size, count in zip(sizes, counts, strict=True)):
        raise ConfigError(
            f'{_label(model)} multiplies and adds {_listed(counts)} times for {_listed(sizes)} images, which is no fixed '
            'cost of an image and of a batch; compute that grows otherwise, as between the images of a batch, or that is '
            'drawn at random, cannot be added up: take it out of the training step'
        )
    return macs


def _listed(numbers: list[int]) -> str:
    return f'{", ".join(f"{number:,}" for number in numbers[:-1])} and {numbers[-1]:,}'


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
            f'{_label(model)} does not run on batches of images of {size}, on which its compute is counted: '
            f'{type(error).__name__}: {one_line(str(error), 200)} (line {theirs[-1].lineno} of {theirs[-1].filename}); '
            f'{_way_out(error)}'
        ) from error


def _way_out(error: Exception) -> str:
    if 'unordered_map::at' in str(error):
        return 'checkpoint with use_reentrant=False: the other kind cannot be traced'
    return 'mend the model, whose forward(inputs) returns logits, or the size of the images'


def _label(model: BaseModel) -> str:
    name = getattr(model, 'model_name', None)
    return f'model {name!r}' if name else f'the model of class {type(model).__name__}'
