"""The compute meter: FLOPs, images and seconds of training so far."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from motivation.compute.macs import ModelMacs, StepMacs
from motivation.policies.compute import Compute
from motivation.structures import MODEL_NAMES, ModelName


@dataclass
class BatchTotals:
    """Totals over batches.

    Attributes:
        iters: Number of batches.
        images: Number of images, of all processes.
        forward_flops: FLOPs of the forward passes.
        backward_flops: FLOPs of the backward passes.
        seconds: Duration of the batches.
    """

    iters: int = 0
    images: int = 0
    forward_flops: int = 0
    backward_flops: int = 0
    seconds: float = 0.0

    @property
    def flops(self) -> int:
        """FLOPs of both passes."""
        return self.forward_flops + self.backward_flops

    def add(
        self, images: int, forward_flops: int, backward_flops: int = 0, iters: int = 1, seconds: float = 0.0
    ) -> None:
        """Add batches."""
        self.iters += iters
        self.images += images
        self.forward_flops += forward_flops
        self.backward_flops += backward_flops
        self.seconds += seconds


class ComputeMeter:
    """Adds up the compute of both models, batch by batch.

    Args:
        macs: MACs of each model, on samples as evaluations, re-estimations and measurements for policies see them.
        processes: Number of processes that share each batch. Default: 1.
        accumulate: Number of micro-batches of a full batch in each process, by model. Default: 1 for both.

    Attributes:
        macs: MACs of each model for the batches to come; may be replaced during a run.
        trained: Batches that each model trained on while active.
        distilled: Distillation steps of the base model.
        held_in: Measurements of the base model's loss on fixed training images, for the policy; part of its training.
        skipped: Batches with a non-finite loss or gradient, on which the active model ran both passes without a step.
        evaluated: Validation batches of each model.
        reestimated: Batches on which each model's statistics were re-estimated.
        motivated_alone_train_flops: FLOPs of training the motivated model alone on the same batches.
    """

    def __init__(
        self,
        macs: Mapping[ModelName, ModelMacs],
        processes: int = 1,
        accumulate: Mapping[ModelName, int] = MappingProxyType(dict.fromkeys(MODEL_NAMES, 1)),
    ) -> None:
        self.macs = macs
        self._inference = {name: macs[name].inference for name in MODEL_NAMES}
        self._processes = processes
        self._passes: dict[ModelName, int] = {name: processes * accumulate[name] for name in MODEL_NAMES}
        self.trained = {name: BatchTotals() for name in MODEL_NAMES}
        self.distilled = BatchTotals()
        self.held_in = BatchTotals()
        self.skipped = {name: BatchTotals() for name in MODEL_NAMES}
        self.evaluated = {name: BatchTotals() for name in MODEL_NAMES}
        self.reestimated = {name: BatchTotals() for name in MODEL_NAMES}
        self.motivated_alone_train_flops = 0
        # Of the last batch before a resume, until the next one.
        self._restored: dict[ModelName, dict[str, int]] | None = None

    @property
    def per_image(self) -> dict[ModelName, dict[str, int]]:
        """MACs an image of each model in the last training batch, with what it froze, also after a resume."""
        if self._restored is not None:
            return self._restored
        return {
            name: {
                'forward_macs_per_image': macs.network.per_image,
                'step_forward_macs_per_image': macs.step.forward.per_image,
                'backward_macs_per_image': macs.step.backward.per_image,
            }
            for name, macs in self.macs.items()
        }

    def add_batch(
        self,
        active: ModelName,
        images: int,
        seconds: float = 0.0,
        distilled: bool = False,
        skipped: bool = False,
        passes: int | None = None,
    ) -> None:
        """Count a training batch.

        Args:
            active: Name of the active model.
            images: Number of images, of all processes.
            seconds: Duration of the batch.
            distilled: Whether the base model also took a distillation step.
            skipped: Whether the step was skipped, because its loss or gradient is not finite, after both passes.
            passes: Number of micro-batches in all processes; ``None`` (default) for those of a full batch.
        """
        self._restored = None
        share = self._passes[active] if passes is None else passes, images
        step = self._step(active, distilled)
        forward, backward = step.forward.flops(*share), step.backward.flops(*share)
        totals = self.skipped if skipped else self.trained
        totals[active].add(images, forward, backward, seconds=seconds)
        if distilled:
            step = self._step('base', distilled)
            self.distilled.add(images, step.forward.flops(*share), step.backward.flops(*share))
        self.motivated_alone_train_flops += self.macs['motivated'].step.flops(*share)

    def add_held_in(self, images: int) -> None:
        """Count a measurement of the base model's loss, on images of all processes."""
        self.held_in.add(images, self._held_in_flops(images))

    def _held_in_flops(self, images: int) -> int:
        return self._inference['base'].flops(self._processes, images)

    def add_reestimation(self, model: ModelName, iters: int, images: int) -> None:
        """Count batches on which every process re-estimated the statistics of a model; ``images`` are of one process."""
        flops = self._inference[model].flops(iters, images)
        processes = self._processes
        self.reestimated[model].add(images * processes, flops * processes, iters=iters * processes)

    def _step(self, model: ModelName, distillation: bool) -> StepMacs:
        return _step_of(self.macs[model], distillation)

    def forward_flops(self, model: ModelName) -> int:
        """Return the FLOPs of the forward passes of training one model."""
        return sum(totals.forward_flops for totals in self._training_totals(model))

    def backward_flops(self, model: ModelName) -> int:
        """Return the FLOPs of the backward passes of training one model."""
        return sum(totals.backward_flops for totals in self._training_totals(model))

    def train_flops(self, model: ModelName) -> int:
        """Return the FLOPs of training one model."""
        return self.forward_flops(model) + self.backward_flops(model)

    def _training_totals(self, model: ModelName) -> list[BatchTotals]:
        of_base = [self.distilled, self.held_in] if model == 'base' else []
        return [self.trained[model], self.skipped[model], *of_base]

    @property
    def total_train_flops(self) -> int:
        """FLOPs of training both models."""
        return self.train_flops('base') + self.train_flops('motivated')

    def evaluation_flops(self, model: ModelName) -> int:
        """Return the FLOPs of validating one model, which are not part of training."""
        return self.evaluated[model].flops

    def reestimation_flops(self, model: ModelName) -> int:
        """Return the FLOPs of re-estimating the statistics of one model, which are not part of training."""
        return self.reestimated[model].flops

    def images_per_second(self, model: ModelName) -> float | None:
        """Return the images per second in the batches of one active model, or ``None`` before the first."""
        return _rate(self.trained[model].images, self.trained[model].seconds)

    def flops_per_second(self, model: ModelName) -> float | None:
        """Return the FLOPs per second in the batches of one active model, or ``None`` before the first."""
        return _rate(self.batch_flops(model), self.trained[model].seconds)

    def batch_flops(self, model: ModelName) -> int:
        """Return the FLOPs of the batches of one active model; motivated batches include distillation steps."""
        return self.trained[model].flops + (self.distilled.flops if model == 'motivated' else 0)

    def forecast(
        self,
        iters: int,
        images: int,
        batch_size: int,
        distillation: bool,
        measurements_left: int = 0,
        held_in_images: int = 0,
        later: Sequence[tuple[int, int, Mapping[ModelName, ModelMacs]]] = (),
    ) -> Compute:
        """Return the compute spent so far and a forecast of the rest of the run.

        Args:
            iters: Number of batches of the whole run.
            images: Number of images of the whole run.
            batch_size: Images per full batch of all processes.
            distillation: Whether motivated batches include a distillation step.
            measurements_left: Number of measurements of the held-in loss to come. Default: 0.
            held_in_images: Images of each, in all processes. Default: 0.
            later: Number of batches and of images of each later part of the run, with its MACs. Default: none; the MACs
                of the batch just done hold to the end. The cost of a batch is that of the part where it is highest.
        """
        further = measurements_left * self._held_in_flops(held_in_images)

        def flops(macs: Mapping[ModelName, ModelMacs], iters: int, images: int) -> dict[str, int]:
            base, motivated = (iters * self._passes[name] for name in MODEL_NAMES)
            of_motivated = _step_of(macs['motivated'], distillation).flops(motivated, images)
            if distillation:
                of_motivated += _step_of(macs['base'], distillation).flops(motivated, images)
            return {
                'base': macs['base'].step.flops(base, images),
                'motivated': of_motivated,
                'alone': macs['motivated'].step.flops(motivated, images),
            }

        iters_left, images_left = iters - self._total('iters'), images - self._total('images')
        current = iters_left - sum(part[0] for part in later), images_left - sum(part[1] for part in later)
        parts = [flops(self.macs, *current), *(flops(macs, *amount) for *amount, macs in later)]
        left = {name: sum(part[name] for part in parts) for name in parts[0]}
        ahead = [*([self.macs] if current[0] or not later else []), *(macs for *_, macs in later)]
        batch = max((flops(macs, 1, batch_size) for macs in ahead), key=lambda cost: cost['motivated'] - cost['base'])
        return Compute(
            spent=self.total_train_flops,
            left={name: left[name] + further for name in MODEL_NAMES},
            batch={name: batch[name] for name in MODEL_NAMES},
            motivated_alone=self.motivated_alone_train_flops + left['alone'],
        )

    def _total(self, field: str) -> int:
        return sum(getattr(totals, field) for kind in (self.trained, self.skipped) for totals in kind.values())

    def describe(self, model: ModelName) -> dict[str, Any]:
        """Return the totals of one model under the names they have in a report."""
        return {
            'iters': self.trained[model].iters,
            'images': self.trained[model].images,
            'forward_flops': self.forward_flops(model),
            'backward_flops': self.backward_flops(model),
            'train_flops': self.train_flops(model),
            'evaluation_flops': self.evaluation_flops(model),
            'reestimation_flops': self.reestimation_flops(model),
            'seconds': self.trained[model].seconds,
            'images_per_second': self.images_per_second(model),
            'flops_per_second': self.flops_per_second(model),
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            **{kind: {name: asdict(getattr(self, kind)[name]) for name in MODEL_NAMES} for kind in _KINDS},
            'distilled': asdict(self.distilled),
            'held_in': asdict(self.held_in),
            'motivated_alone_train_flops': self.motivated_alone_train_flops,
            'per_image': self.per_image,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for kind in _KINDS:
            setattr(self, kind, {name: BatchTotals(**state_dict[kind][name]) for name in MODEL_NAMES})
        self.distilled = BatchTotals(**state_dict['distilled'])
        self.held_in = BatchTotals(**state_dict.get('held_in', {}))  # older checkpoints have none
        self.motivated_alone_train_flops = state_dict['motivated_alone_train_flops']
        self._restored = state_dict.get('per_image')  # older checkpoints have none


def _step_of(macs: ModelMacs, distillation: bool) -> StepMacs:
    return macs.distillation if distillation and macs.distillation is not None else macs.step


_KINDS = ('trained', 'skipped', 'evaluated', 'reestimated')


def _rate(amount: float, seconds: float) -> float | None:
    return amount / seconds if seconds else None
