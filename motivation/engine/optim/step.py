"""Reducing the numbers of a training batch over all processes, and making its record."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from torch import Tensor

from motivation.errors import ConfigError
from motivation.structures import ModelName, SampleLosses, StepRecord
from motivation.utils.batches import samples_in


@dataclass(frozen=True, slots=True)
class Reading:
    """The numbers of one optimizer step, read from the device.

    Attributes:
        own: Values of this process, by name.
        mean: Means of these values over all processes.
        total: Sums of the counts of all processes; empty except for the first step on a batch.
        samples: The loss of each sample in all processes, if asked for, in the first step on a batch.
    """

    own: Mapping[str, float]
    mean: Mapping[str, float]
    total: Mapping[str, float]
    samples: SampleLosses | None = None


@dataclass(frozen=True, slots=True)
class _Samples:
    """The samples of this process in a batch.

    Attributes:
        indices: Their indices in the data set.
        losses: Their losses, (N,), on the device.
        slots: Places for samples that each process has in the exchange.
    """

    indices: Sequence[int]
    losses: Tensor
    slots: int


# What a policy asks for beyond the loss: numbers of the named model, by name.
Measure = Callable[[ModelName], Mapping[str, Tensor]]


class StepExchange:
    """Reduces the numbers of a batch over all processes and reads them, between backward pass and optimizer step.

    A batch costs one all-reduce (none with one process) and one read of the device, both in :meth:`read`, which the
    optimizer wrapper of the active model calls. In-place distillation takes a further step on the same batch, whose
    loss must be checked as well; such a batch costs two all-reduces and two reads.

    The training loop calls :meth:`begin` before and :meth:`complete` after each batch.
    """

    def __init__(self) -> None:
        self._measures: list[Measure] = []
        self._sample_losses: Callable[[ModelName], Tensor] | None = None
        self._slots = 0
        self._indices: Sequence[int] | None = None
        self._asks_for_grad_norm = False
        self._counts: dict[str, float] = {}
        self._stop_requested: Callable[[], bool] = bool
        # The first reading of each model that has stepped on the batch, in order, and its number of steps.
        self._readings: dict[ModelName, Reading] = {}
        self._steps: dict[ModelName, int] = {}

    def ask_for(self, measure: Measure) -> None:
        """Add numbers to the record of every batch, as means over all processes.

        Args:
            measure: Returns scalars by name for the named model, after its backward pass in the first step on the
                batch; the names must be the same in all processes.
        """
        self._measures.append(measure)

    def ask_for_sample_losses(self, measure: Callable[[ModelName], Tensor], slots: int) -> None:
        """Add the loss of each sample to the record of every batch; it is exchanged and read with the batch's loss.

        Args:
            measure: Returns the losses of the samples of this process, (N,), for the named model.
            slots: Maximum number of samples in the batch of a process.
        """
        self._sample_losses, self._slots = measure, slots

    def ask_for_grad_norm(self) -> None:
        """Add the gradient norm to the record of every batch."""
        self._asks_for_grad_norm = True

    @property
    def awaits_first_step(self) -> bool:
        """Whether a batch has begun, and no step has been taken on it."""
        return bool(self._counts) and not self._readings

    @property
    def needs_grad_norm(self) -> bool:
        """Whether the next step must measure its gradient norm: if asked for, in the first step on a batch."""
        return self._asks_for_grad_norm and self.awaits_first_step

    def begin(self, data_batch: Any, stop_requested: Callable[[], bool]) -> None:
        """Start a batch.

        Args:
            data_batch: The batch.
            stop_requested: Returns whether this process has received a signal to stop; called when the batch is read.
        """
        self._counts = {'images': samples_in(data_batch), 'left_out': len(left_out(data_batch))}
        self._indices = getattr(data_batch, 'indices', None)
        self._stop_requested = stop_requested
        self._readings, self._steps = {}, {}

    def read(
        self, model: ModelName, loss: Tensor, measured: Mapping[str, Tensor] | None = None, passes: int = 1
    ) -> Reading:
        """Reduce the loss and the other numbers of the batch, and read them, which waits for the device.

        Args:
            model: The model that steps next.
            loss: Loss of the model, a scalar.
            measured: Further scalars of this step, such as gradient norms. Default: none.
            passes: Number of micro-batches of the batch. Default: 1.
        """
        values, total, samples = {'loss': loss, **(measured or {})}, {}, None
        if not self._readings:
            clock = time.monotonic() if get_rank() == 0 else 0.0
            total = {**self._counts, 'passes': passes, 'stop_requested': self._stop_requested(), 'clock': clock}
            for measure in self._measures:
                values |= measure(model)
            if self._sample_losses is not None:
                samples = self._samples(self._sample_losses(model))
        reading = _reduce_and_read(values, total, samples)
        self._readings.setdefault(model, reading)
        self._steps[model] = self._steps.get(model, 0) + 1
        return reading

    def _samples(self, losses: Tensor) -> _Samples:
        if self._indices is None or len(self._indices) != len(losses):
            raise ConfigError(
                'train_dataloader makes batches that do not say which samples they hold, and motivation.policy compares '
                'the losses of each: leave out its collate_fn, take a data set with indices, or choose another policy'
            )
        return _Samples(self._indices, losses, self._slots)

    def check_step(self, model: ModelName, wrapper: Any) -> None:
        """Check that a wrapper that scales losses or adds up gradients has stepped through its ``step``.

        Args:
            model: The model that trained on the batch.
            wrapper: Its optimizer wrapper.

        Raises:
            ConfigError: It has not, so that micro-batches and loss scale have been ignored.
        """
        if not self._steps.get(model) and (wrapper.accumulate > 1 or wrapper.scaler is not None):
            raise ConfigError(
                f'optim_wrapper.type is {type(wrapper).__name__!r}, which does not step through self.step, so that '
                "optim_wrapper.accumulate and model.precision='fp16' have no effect; let it, or leave both out"
            )

    def complete(
        self, model: ModelName, outputs: dict[str, Any], seconds: float, bad_loss: float | None = None
    ) -> StepRecord:
        """Return the record of a batch, and replace the losses in ``outputs`` by the numbers read.

        The loss is that of the model's step. If a user-defined ``train_step`` made no step through its optimizer
        wrapper, or several, it is the ``'loss'`` in ``outputs``.

        Args:
            model: The model that trained.
            outputs: The result of its ``train_step``.
            seconds: Seconds since the end of the last batch.
            bad_loss: The non-finite loss of a skipped batch; ``None`` (default) otherwise.
        """
        if bad_loss is None and self._steps.get(model) != 1:
            reading = self.read(model, torch.as_tensor(outputs['loss']))
        else:
            reading = self._readings[model]
        first = next(iter(self._readings.values()))
        distilled = 'distillation_loss' in outputs
        outputs['loss'] = reading.own['loss'] if bad_loss is None else bad_loss
        if distilled:
            outputs['distillation_loss'] = self._readings['base'].own['loss']
        loss = reading.mean['loss'] if bad_loss is None else bad_loss
        return StepRecord(
            model=model,
            loss=loss,
            images=int(first.total['images']),
            finite=math.isfinite(loss),
            stepped=math.isfinite(loss) and not reading.mean.get('overflows'),
            passes=int(first.total['passes']),
            seconds=seconds,
            clock=first.total['clock'],
            distilled=distilled,
            left_out=int(first.total['left_out']),
            stop_requested=bool(first.total['stop_requested']),
            grad_norm=_finite_or_infinite(first.mean.get('grad_norm')) if self._asks_for_grad_norm else None,
            measured={name: value for name, value in first.mean.items() if name not in _OWN_FIELDS},
            sample_losses=first.samples,
        )


# Numbers of a step that have fields of their own in its record, or are the engine's.
_OWN_FIELDS = ('loss', 'grad_norm', 'clip_norm', 'overflows')


def _reduce_and_read(values: Mapping[str, Tensor], total: Mapping[str, float], samples: _Samples | None) -> Reading:
    """Return means of ``values``, sums of ``total`` and the samples, over all processes: one all-reduce, one read."""
    device = next(iter(values.values())).device
    dtype = torch.float32 if device.type == 'mps' else torch.float64  # MPS has no double precision
    own = torch.stack([value.detach().reshape(()).to(device, dtype) for value in values.values()])
    processes = get_world_size()
    if processes == 1:
        losses = [] if samples is None else [samples.losses.detach().to(device, dtype)]
        read = torch.cat([own, *losses]).tolist() if losses else own.tolist()
        numbers = dict(zip(values, read, strict=False))
        found = SampleLosses(list(samples.indices), read[len(own) :]) if samples is not None else None
        return Reading(numbers, numbers, total, found)
    # A blocking copy to a GPU would wait for the backward pass a second time.
    counts = torch.tensor([*total.values()], dtype=dtype).to(device, non_blocking=True)
    packed = torch.cat([own, counts] if samples is None else [own, counts, _placed(samples, device, dtype)])
    all_reduce(packed)
    read = torch.cat([packed, own]).tolist()
    ends = len(own), len(own) + len(counts), len(packed)
    return Reading(
        own=dict(zip(values, read[ends[2] :], strict=True)),
        mean={name: value / processes for name, value in zip(values, read, strict=False)},
        total=dict(zip(total, read[ends[0] : ends[1]], strict=True)),
        samples=_collected(read[ends[1] : ends[2]], samples.slots) if samples is not None else None,
    )


def _placed(samples: _Samples, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the samples in the slots of this process, and zeros in those of others, so that a sum collects all.

    Each process has ``slots`` indices, counted from 1 because 0 is an empty slot, and then ``slots`` losses.
    """
    placed = torch.zeros(get_world_size(), 2, samples.slots, dtype=dtype, device=device)
    numbers = torch.tensor([index + 1 for index in samples.indices], dtype=dtype)
    ours = placed[get_rank()]
    ours[0, : len(numbers)] = numbers.to(device, non_blocking=True)
    ours[1, : len(numbers)] = samples.losses.detach()
    return placed.flatten()


def _collected(read: Sequence[float], slots: int) -> SampleLosses:
    """Return the samples of all processes, in the order of processes, from the sum of what :func:`_placed` returns."""
    indices: list[int] = []
    losses: list[float] = []
    for begin in range(0, len(read), 2 * slots):
        numbers, others = read[begin : begin + slots], read[begin + slots : begin + 2 * slots]
        count = sum(number > 0 for number in numbers)
        indices += [int(number) - 1 for number in numbers[:count]]
        losses += others[:count]
    return SampleLosses(indices, losses)


def _finite_or_infinite(norm: float | None) -> float:
    """Return a gradient norm; infinite if no step was taken through the wrapper, or its gradients are not finite."""
    return norm if norm is not None and math.isfinite(norm) else math.inf


def left_out(data_batch: Any) -> Sequence[tuple[str, str]]:
    """Return name and problem of each skipped image of a batch; empty if its collate function does not record them."""
    return getattr(data_batch, 'skipped', ())
