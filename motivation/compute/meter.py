"""What training has cost so far."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from motivation.compute.macs import ModelMacs, StepMacs
from motivation.policies.compute import Compute
from motivation.structures import MODEL_NAMES, ModelName


@dataclass
class BatchTotals:
    """Batches that a model was run on.

    Attributes:
        iters: Their number.
        images: Their images, those of all processes.
        forward_flops: FLOPs of the forward passes.
        backward_flops: FLOPs of the backward passes.
        seconds: How long they took.
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
    """Adds up the compute of both models, batch by batch, from true batch sizes.

    Args:
        macs: What each model computes.
        processes: Processes that share each batch.

    Attributes:
        macs: What each model computes from now on; it may change while a run trains.
        trained: Batches on which each model was the active one.
        distilled: Batches on which the base model took a second step, towards the motivated model's
            outputs.
        skipped: Batches with a non-finite loss, on which each active model ran forward and backward and took no step.
        evaluated: Batches that each model was validated on.
        reestimated: Batches on which each model's statistics were estimated anew.
        motivated_alone_train_flops: FLOPs that training the motivated model alone would have spent on
            the same batches.
    """

    def __init__(self, macs: Mapping[ModelName, ModelMacs], processes: int = 1) -> None:
        self.macs = macs
        self.processes = processes
        self.trained = {name: BatchTotals() for name in MODEL_NAMES}
        self.distilled = BatchTotals()
        self.skipped = {name: BatchTotals() for name in MODEL_NAMES}
        self.evaluated = {name: BatchTotals() for name in MODEL_NAMES}
        self.reestimated = {name: BatchTotals() for name in MODEL_NAMES}
        self.motivated_alone_train_flops = 0

    def add_batch(
        self, active: ModelName, images: int, seconds: float = 0.0, distilled: bool = False, skipped: bool = False
    ) -> None:
        """Count a training batch.

        Args:
            active: The model that trained on it.
            images: Its images, those of all processes.
            seconds: How long it took.
            distilled: Whether the base model then took a step of its own.
            skipped: Whether the loss was non-finite, so that no step was taken; both passes were made.
        """
        share = self.processes, images
        step = self._step(active, distilled)
        forward, backward = step.forward.flops(*share), step.backward.flops(*share)
        totals = self.skipped if skipped else self.trained
        totals[active].add(images, forward, backward, seconds=seconds)
        if distilled:
            further = self._step('base', distilled)
            self.distilled.add(images, further.forward.flops(*share), further.backward.flops(*share))
        self.motivated_alone_train_flops += self.macs['motivated'].step.flops(*share)

    def _step(self, model: ModelName, distillation: bool) -> StepMacs:
        macs = self.macs[model]
        return macs.distillation if distillation and macs.distillation is not None else macs.step

    def forward_flops(self, model: ModelName) -> int:
        """FLOPs of the forward passes of training one model."""
        return sum(work.forward_flops for work in self._works(model))

    def backward_flops(self, model: ModelName) -> int:
        """FLOPs of the backward passes of training one model."""
        return sum(work.backward_flops for work in self._works(model))

    def train_flops(self, model: ModelName) -> int:
        """FLOPs that training has spent on one model."""
        return self.forward_flops(model) + self.backward_flops(model)

    def _works(self, model: ModelName) -> list[BatchTotals]:
        return [self.trained[model], self.skipped[model], *([self.distilled] if model == 'base' else [])]

    @property
    def total_train_flops(self) -> int:
        """FLOPs that training has spent on both models."""
        return self.train_flops('base') + self.train_flops('motivated')

    def evaluation_flops(self, model: ModelName) -> int:
        """FLOPs of validating one model; no part of training."""
        return self.evaluated[model].flops

    def reestimation_flops(self, model: ModelName) -> int:
        """FLOPs of estimating the statistics of one model anew; no part of training."""
        return self.reestimated[model].flops

    def images_per_second(self, model: ModelName) -> float | None:
        """Images that training took in a second of the batches of one active model; ``None`` before any."""
        return _rate(self.trained[model].images, self.trained[model].seconds)

    def flops_per_second(self, model: ModelName) -> float | None:
        """FLOPs that training achieved in a second of the batches of one active model; ``None`` before any."""
        return _rate(self.batch_flops(model), self.trained[model].seconds)

    def batch_flops(self, model: ModelName) -> int:
        """FLOPs of the batches of one active model; a motivated one includes the base's further step."""
        return self.trained[model].flops + (self.distilled.flops if model == 'motivated' else 0)

    def forecast(self, iters: int, images: int, batch_size: int, distillation: bool) -> Compute:
        """What training has cost and can still cost.

        Args:
            iters: Batches of the whole run.
            images: Images of the whole run.
            batch_size: Images of a full batch of all processes.
            distillation: Whether the base model takes a further step on every motivated batch.
        """

        def flops(iters: int, images: int) -> dict[str, int]:
            share = iters * self.processes, images
            motivated = self._step('motivated', distillation).flops(*share)
            if distillation:
                motivated += self._step('base', distillation).flops(*share)
            return {'base': self.macs['base'].step.flops(*share), 'motivated': motivated}

        left = iters - self._total('iters'), images - self._total('images')
        alone = self.macs['motivated'].step.flops(left[0] * self.processes, left[1])
        return Compute(
            spent=self.total_train_flops,
            left=flops(*left),
            batch=flops(1, batch_size),
            motivated_alone=self.motivated_alone_train_flops + alone,
        )

    def _total(self, field: str) -> int:
        return sum(getattr(work, field) for kind in (self.trained, self.skipped) for work in kind.values())

    def describe(self, model: ModelName) -> dict[str, Any]:
        """The totals of one model: the fields of a report and of a checkpoint."""
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
            'motivated_alone_train_flops': self.motivated_alone_train_flops,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for kind in _KINDS:
            setattr(self, kind, {name: BatchTotals(**state_dict[kind][name]) for name in MODEL_NAMES})
        self.distilled = BatchTotals(**state_dict['distilled'])
        self.motivated_alone_train_flops = state_dict['motivated_alone_train_flops']


_KINDS = ('trained', 'skipped', 'evaluated', 'reestimated')


def _rate(amount: float, seconds: float) -> float | None:
    return amount / seconds if seconds else None
