"""Multiply-accumulates of what a model computes, from batches of a few samples.

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
from motivation.utils.batches import article, network_inputs, noun_of, repeated, sample_text, samples_in
from motivation.utils.training_mode import evaluation_mode, training_mode


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


def training_batches(sample: dict[str, Any], batch_size: int | None = None) -> list[dict[str, Any]]:
    """Return batches of two and four samples, from which costs of one and of a batch follow, and more to check them by.

    Args:
        sample: One sample as the dataset returns it, collated: every tensor (1, ...).
        batch_size: Samples of the last one, after one of six, if above that.
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
    """Count what a model computes, from batches of a few samples and one as large as those of the run.

    Args:
        model: Left untouched; its training mode is counted, whatever it is in. What is wrapped in
            data parallelism, compiled or under autocast counts as it would without.
        sample: One sample as the dataset returns it, collated: every tensor (1, ...).
        distillation: Whether to count a step of in-place distillation too.
        batch_size: Samples of a batch that is to cost what follows from these.
        check: Whether to have fvcore count the forward pass too, which must agree; a model that asks
            for values, on which its compute may depend, is checked in any case.

    Raises:
        ConfigError: An operator multiplies and has no formula, two counts of the forward pass
            disagree, the cost is not affine in the number of samples, no parameter trains, or the
            model does not run.
    """
    model = unwrapped(model)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            f'{_label(model)} has nothing to train: requires_grad is False for all of its parameters; unfreeze some'
        )
    with _said_in_a_sentence(model, sample), training_mode(model):
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
    """Count the forward pass of a model in evaluation mode.

    Args:
        model: As of :func:`measure_model`.
        sample: Likewise.

    Raises:
        ConfigError: As of :func:`measure_model`.
    """
    model = unwrapped(model)
    with _said_in_a_sentence(model, sample):
        return _forward_macs(StepCounter(model), model, _evaluated(model, sample), evaluation=True)[1]


def _step_macs(
    counter: StepCounter, model: BaseModel, batches: list[dict[str, Any]], distillation: bool = False
) -> tuple[Dispatched, StepMacs]:
    """Count a step of the smallest batch, and what follows for any.

    The forward pass is counted for every batch; the backward pass, which follows from it operator by
    operator and takes twice as long to count, for the smallest and the largest.
    """
    sizes = [samples_in(batch) for batch in batches]
    ends = 0, len(batches) - 1
    counts = [counter.train_step(batch, distillation, backward=place in ends) for place, batch in enumerate(batches)]
    noun = noun_of(batches[0])
    forward = _affine(model, noun, sizes, [count.forward for count in counts])
    backward = _affine(model, noun, [sizes[place] for place in ends], [counts[place].backward for place in ends])
    return counts[0], StepMacs(forward, backward)


def _evaluated(model: BaseModel, sample: dict[str, Any]) -> list[dict[str, Any]]:
    """Inputs of two and of four samples, as the model takes them in evaluation."""
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
    """Count a forward pass of two samples, and what follows for any number.

    Args:
        counter: Of the model.
        model: Named in errors.
        inputs: Two samples and four.
        known: A pass of two samples whose cost is known: one that multiplies as often, operator by
            operator, costs the same with any number.
        known_macs: That cost.
        evaluation: Whether to run it in evaluation mode.
    """
    first = counter.forward(inputs[0], evaluation)
    if known is not None and known_macs is not None and first.same_forward(known):
        return first, known_macs
    return first, _affine(
        model, noun_of(inputs[0]), [2, 4], [first.forward, counter.forward(inputs[1], evaluation).forward]
    )


def _check(model: BaseModel, inputs: dict[str, Any], evaluation: bool = False) -> None:
    # Inside: fvcore takes a third of a second to import, and most runs do without.
    from motivation.compute.forward_check import check_forward

    with evaluation_mode(model) if evaluation else nullcontext():
        check_forward(model, inputs)


def _affine(model: BaseModel, noun: str, sizes: list[int], counts: list[int]) -> Macs:
    """What a sample and what a batch costs, if the MACs of batches of these sizes are made of that."""
    per_image = (counts[1] - counts[0]) // (sizes[1] - sizes[0])
    macs = Macs(per_image, counts[0] - sizes[0] * per_image)
    if min(macs) < 0 or any(2 * count != macs.flops(1, size) for size, count in zip(sizes, counts, strict=True)):
        raise ConfigError(
            f'{_label(model)} multiplies and adds {_listed(counts)} times for {_listed(sizes)} {noun}s, which is no fixed '
            f'cost of {article(noun)} and of a batch; compute that grows otherwise, as between the {noun}s of a batch, or that is '
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
        raise ConfigError(
            f'{_label(model)} does not run on batches of {sample_text(sample)}, on which its compute is counted: '
            f'{type(error).__name__}: {one_line(str(error), 200)} (line {theirs[-1].lineno} of {theirs[-1].filename}); '
            f'{_way_out(error)}'
        ) from error


def _way_out(error: Exception) -> str:
    if 'unordered_map::at' in str(error):
        return 'checkpoint with use_reentrant=False: the other kind cannot be traced'
    return 'correct the model, whose forward(inputs) returns logits, or the shape of its inputs'


def _label(model: BaseModel) -> str:
    name = getattr(model, 'model_name', None)
    return f'model {name!r}' if name else f'the model of class {type(model).__name__}'
