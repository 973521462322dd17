"""MACs of a model per image and per batch, measured on batches of a few samples.

MACs are the multiply-accumulates of convolutions, linear layers, matrix products and attention
(QK^T and PV); FLOPs = 2 x MACs. Normalisation, activations and pooling are not counted.
"""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

from mmengine.model import BaseModel

from motivation.compute.isolation import isolated, unwrapped
from motivation.compute.step_macs import Dispatched, StepCounter
from motivation.errors import ConfigError, one_line
from motivation.utils.batches import network_inputs, noun_of, repeated, sample_text, samples_in
from motivation.utils.training_mode import evaluation_mode, training_mode


class Macs(NamedTuple):
    """MACs that are affine in the batch size.

    Attributes:
        per_image: MACs per image.
        per_batch: MACs per batch of any size; 0 for most networks.
    """

    per_image: int
    per_batch: int = 0

    def flops(self, batches: int, images: int) -> int:
        """Return the FLOPs (2 x MACs) of a number of batches with a total number of images."""
        return 2 * (batches * self.per_batch + images * self.per_image)


class StepMacs(NamedTuple):
    """MACs of a training step.

    Attributes:
        forward: Forward passes of the network and, if there is one, of its teacher.
        backward: Backward pass.
    """

    forward: Macs
    backward: Macs

    def flops(self, batches: int, images: int) -> int:
        """Return the FLOPs of training on a number of batches with a total number of images."""
        return self.forward.flops(batches, images) + self.backward.flops(batches, images)


class ModelMacs(NamedTuple):
    """MACs of one model.

    Attributes:
        network: Forward pass of the network in training mode (with patch dropout, for example).
        step: The model's training step.
        inference: Forward pass of the network in evaluation mode.
        distillation: Training step of in-place distillation, or ``None`` if not measured.
    """

    network: Macs
    step: StepMacs
    inference: Macs
    distillation: StepMacs | None = None


def training_batches(sample: dict[str, Any], batch_size: int | None = None) -> list[dict[str, Any]]:
    """Return batches of two and four samples, which determine the MACs per image and batch, and larger ones to check.

    Args:
        sample: One sample as the dataset returns it, collated: every tensor (1, ...).
        batch_size: Samples of the last batch, if more than six.
    """
    sizes = [2, 4, 6]
    if batch_size is not None and batch_size > 6:
        sizes.append(batch_size)
    with isolated():
        return [repeated(sample, samples) for samples in sizes]


def measure_model(
    model: BaseModel,
    sample: dict[str, Any],
    distillation: bool = False,
    batch_size: int | None = None,
    check: bool = False,
) -> ModelMacs:
    """Measure the MACs of a model on batches of a few samples.

    Args:
        model: The model, which does not change. Data parallelism, compilation and autocast have no effect.
        sample: One sample as the dataset returns it, collated: every tensor (1, ...).
        distillation: Whether to count a step of in-place distillation too.
        batch_size: Samples of a further batch to check, such as the run's; ``None`` (default) for none.
        check: Whether to check the forward pass with fvcore. It is checked in any case if the model reads values,
            on which its compute may depend.

    Raises:
        ConfigError: An operator that multiplies has no formula, the two counts of the forward pass differ, the MACs
            are not affine in the number of samples, no parameter requires a gradient, or the model does not run.
    """
    model = unwrapped(model)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            f'{_label(model)} has nothing to train: requires_grad is False for all of its parameters; unfreeze some'
        )
    with _clear_errors(model, sample), training_mode(model):
        counter = StepCounter(model)
        batches = training_batches(sample, batch_size)
        first, step = _step_macs(counter, model, batches)
        with isolated():
            inputs = [network_inputs(model, batch, training=True) for batch in batches[:2]]
        ran, network = _forward_macs(counter, model, inputs, first, step.forward)
        evaluated, inference = _forward_macs(counter, model, _evaluated(model, sample), ran, network, evaluation=True)
        distilling = _step_macs(counter, model, batches, distillation=True)[1] if distillation else None
        if check or counter.asked_for_values:
            _check(model, inputs[0])
            if not evaluated.same_forward(ran):
                _check(model, _evaluated(model, sample)[0], evaluation=True)
    return ModelMacs(network, step, inference, distilling)


def measure_inference(model: BaseModel, sample: dict[str, Any]) -> Macs:
    """Measure the MACs of the forward pass in evaluation mode; arguments and errors are those of :func:`measure_model`."""
    model = unwrapped(model)
    with _clear_errors(model, sample):
        return _forward_macs(StepCounter(model), model, _evaluated(model, sample), evaluation=True)[1]


def _step_macs(
    counter: StepCounter, model: BaseModel, batches: list[dict[str, Any]], distillation: bool = False
) -> tuple[Dispatched, StepMacs]:
    """Count a training step of the smallest batch, and derive the MACs per image and batch.

    The backward pass is counted for the smallest and the largest batch only: it takes twice as long to count and
    follows from the forward pass operator by operator.
    """
    sizes = [samples_in(batch) for batch in batches]
    ends = 0, len(batches) - 1
    counts = [counter.train_step(batch, distillation, backward=place in ends) for place, batch in enumerate(batches)]
    noun = noun_of(batches[0])
    forward = _affine(model, noun, sizes, [count.forward for count in counts])
    backward = _affine(model, noun, [sizes[place] for place in ends], [counts[place].backward for place in ends])
    return counts[0], StepMacs(forward, backward)


def _evaluated(model: BaseModel, sample: dict[str, Any]) -> list[dict[str, Any]]:
    """Return network inputs of two and four samples for evaluation."""
    with isolated(), evaluation_mode(model):
        return [network_inputs(model, repeated(sample, samples)) for samples in (2, 4)]


def _forward_macs(
    counter: StepCounter,
    model: BaseModel,
    inputs: list[dict[str, Any]],
    known: Dispatched | None = None,
    known_macs: Macs | None = None,
    evaluation: bool = False,
) -> tuple[Dispatched, Macs]:
    """Count a forward pass of two samples, and derive the MACs per image and batch.

    Args:
        counter: The counter of the model.
        model: The model, for error messages.
        inputs: Inputs of two and four samples.
        known: A counted pass of two samples; if it has the same MACs by operator, ``known_macs`` is the result.
        known_macs: Its MACs per image and batch.
        evaluation: Whether to run in evaluation mode.
    """
    first = counter.forward(inputs[0], evaluation)
    if known is not None and known_macs is not None and first.same_forward(known):
        return first, known_macs
    return first, _affine(
        model, noun_of(inputs[0]), [2, 4], [first.forward, counter.forward(inputs[1], evaluation).forward]
    )


def _check(model: BaseModel, inputs: dict[str, Any], evaluation: bool = False) -> None:
    # Imported here because fvcore takes a third of a second, and most runs do not need it.
    from motivation.compute.forward_check import check_forward

    with evaluation_mode(model) if evaluation else nullcontext():
        check_forward(model, inputs)


def _affine(model: BaseModel, noun: str, sizes: list[int], counts: list[int]) -> Macs:
    """Return the MACs per sample and per batch, and check that they explain the counts of all batch sizes."""
    per_image = (counts[1] - counts[0]) // (sizes[1] - sizes[0])
    macs = Macs(per_image, counts[0] - sizes[0] * per_image)
    if min(macs) < 0 or any(2 * count != macs.flops(1, size) for size, count in zip(sizes, counts, strict=True)):
        raise ConfigError(
            f'{_label(model)} computes {_listed(counts)} MACs for {_listed(sizes)} {noun}s, which is not a fixed number '
            f'per {noun} and per batch; compute that grows otherwise (between the {noun}s of a batch) or is random '
            'cannot be counted: take it out of the training step'
        )
    return macs


def _listed(numbers: list[int]) -> str:
    return f'{", ".join(f"{number:,}" for number in numbers[:-1])} and {numbers[-1]:,}'


@contextmanager
def _clear_errors(model: BaseModel, sample: dict[str, Any]) -> Iterator[None]:
    """Raise the errors of a model that does not run as a ConfigError with the inputs and the line of code."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # models raise errors of any type
        frames = traceback.extract_tb(error.__traceback__)
        last = ([frame for frame in frames if f'{os.sep}torch{os.sep}' not in frame.filename] or frames)[-1]
        raise ConfigError(
            f'{_label(model)} does not run on batches of {sample_text(sample)}, on which its compute is counted: '
            f'{type(error).__name__}: {one_line(str(error), 200)} (line {last.lineno} of {last.filename}); '
            f'{_way_out(error)}'
        ) from error


def _way_out(error: Exception) -> str:
    if 'unordered_map::at' in str(error):
        return 'use activation checkpointing with use_reentrant=False, because the other kind cannot be traced'
    return 'fix the model, whose forward(inputs) returns logits, or the shape of its inputs'


def _label(model: BaseModel) -> str:
    name = getattr(model, 'model_name', None)
    return f'model {name!r}' if name else f'the model of class {type(model).__name__}'
