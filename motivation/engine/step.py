"""One training batch: what all processes agree on, and the record that hooks read."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from torch import Tensor

from motivation.structures import ModelName, StepRecord
from motivation.utils.batches import samples_in


@dataclass(frozen=True, slots=True)
class Reading:
    """Numbers of one optimizer step, as the host has read them.

    Attributes:
        own: Those of this process, by name.
        mean: Their means over all processes.
        total: Sums over all processes of what each counts of the batch; only of the first step on a batch.
    """

    own: Mapping[str, float]
    mean: Mapping[str, float]
    total: Mapping[str, float]


class StepExchange:
    """Reduces the numbers of a batch over all processes, and reads them, between backward pass and optimizer step.

    A batch costs one all-reduce (none in a run of one process) and one read of the device, which both
    happen in :meth:`read`, called by the optimizer wrapper of the model that trains. In-place distillation
    makes a further step on the same batch, whose loss must not be stepped on either if it is non-finite:
    such a batch costs a second all-reduce and a second read.

    The train loop opens a batch with :meth:`begin` and closes it with :meth:`complete`.
    """

    def __init__(self) -> None:
        self._accuracy: Callable[[ModelName], Tensor] | None = None
        self._asks_for_grad_norm = False
        self._counts: dict[str, float] = {}
        self._stop_requested: Callable[[], bool] = bool
        # The first reading of each model that has stepped on the batch, in order, and how many steps it made.
        self._readings: dict[ModelName, Reading] = {}
        self._steps: dict[ModelName, int] = {}

    def ask_for_accuracy(self, measure: Callable[[ModelName], Tensor]) -> None:
        """Have the accuracy of every batch in its record.

        Args:
            measure: Returns the accuracy of the model of that name on the batch, a scalar from 0 to 1.
        """
        self._accuracy = measure

    def ask_for_grad_norm(self) -> None:
        """Have the gradient norm of every batch in its record."""
        self._asks_for_grad_norm = True

    @property
    def needs_grad_norm(self) -> bool:
        """Whether the step about to be made is to measure its gradient norm: the first on a batch, where asked for."""
        return self._asks_for_grad_norm and not self._readings

    def begin(self, data_batch: Any, stop_requested: Callable[[], bool]) -> None:
        """Open a batch.

        Args:
            data_batch: The batch.
            stop_requested: Whether a signal has asked this process to end; called when the batch is read.
        """
        self._counts = {'images': samples_in(data_batch), 'left_out': len(left_out(data_batch))}
        self._stop_requested = stop_requested
        self._readings, self._steps = {}, {}

    def read(self, model: ModelName, loss: Tensor, measured: Mapping[str, Tensor] | None = None) -> Reading:
        """Reduce the loss and what else is known of the batch, and wait for the device to read it.

        Args:
            model: The model about to step.
            loss: Its loss, a scalar.
            measured: Further scalars of this step, such as gradient norms.
        """
        values, total = {'loss': loss, **(measured or {})}, {}
        if not self._readings:
            clock = time.monotonic() if get_rank() == 0 else 0.0
            total = {**self._counts, 'stop_requested': self._stop_requested(), 'clock': clock}
            if self._accuracy is not None:
                values['accuracy'] = self._accuracy(model)
        reading = _reduce_and_read(values, total)
        self._readings.setdefault(model, reading)
        self._steps[model] = self._steps.get(model, 0) + 1
        return reading

    def complete(
        self, model: ModelName, outputs: dict[str, Any], seconds: float, bad_loss: float | None = None
    ) -> StepRecord:
        """Close a batch, and replace losses in ``outputs`` by the numbers that have been read.

        The loss is that of the model's step. Where a ``train_step`` of the user's own made none through its
        optimizer wrapper, or several, it is the ``'loss'`` that it returned.

        Args:
            model: The model that trained.
            outputs: What its ``train_step`` returned.
            seconds: Time since the end of the batch before.
            bad_loss: The non-finite loss for which the batch was skipped, if it was.
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
            seconds=seconds,
            clock=first.total['clock'],
            distilled=distilled,
            left_out=int(first.total['left_out']),
            stop_requested=bool(first.total['stop_requested']),
            # Without a step through the wrapper there is no norm; infinite is what a skipped step has.
            grad_norm=first.mean.get('grad_norm', math.inf) if self._asks_for_grad_norm else None,
            accuracy=first.mean.get('accuracy'),
        )


def _reduce_and_read(values: Mapping[str, Tensor], total: Mapping[str, float]) -> Reading:
    """Mean of ``values`` and sum of ``total`` over all processes, in one all-reduce and one read of the device."""
    device = next(iter(values.values())).device
    dtype = torch.float32 if device.type == 'mps' else torch.float64  # MPS has no double precision
    own = torch.stack([value.detach().reshape(()).to(device, dtype) for value in values.values()])
    processes = get_world_size()
    if processes == 1:
        numbers = dict(zip(values, own.tolist(), strict=True))
        return Reading(numbers, numbers, total)
    # Blocking, the copy to a GPU would wait for the backward pass once more.
    counts = torch.tensor([*total.values()], dtype=dtype).to(device, non_blocking=True)
    packed = torch.cat([own, counts])
    all_reduce(packed)
    sums = torch.cat([packed, own]).tolist()
    return Reading(
        own=dict(zip(values, sums[len(packed) :], strict=True)),
        mean={name: value / processes for name, value in zip(values, sums, strict=False)},
        total=dict(zip(total, sums[len(own) : len(packed)], strict=True)),
    )


def left_out(data_batch: Any) -> Sequence[tuple[str, str]]:
    """Return name and problem of each image left out of a batch; none where its collate function does not say."""
    return getattr(data_batch, 'skipped', ())
