"""What training has cost so far."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from motivation.analysis.macs import ModelMacs
from motivation.models import MODEL_NAMES
from motivation.policies.compute import Compute
from motivation.weight_maps import ModelName


@dataclass
class Work:
    """Batches that a model was run on.

    Attributes:
        iters: Their number.
        images: Their images, those of all processes.
        seconds: How long they took.
    """

    iters: int = 0
    images: int = 0
    seconds: float = 0.0

    def add(self, images: int, iters: int = 1, seconds: float = 0.0) -> None:
        """Add batches."""
        self.iters += iters
        self.images += images
        self.seconds += seconds


class ComputeMeter:
    """Adds up the compute of both models, batch by batch, from true batch sizes.

    Args:
        macs: What each model computes.
        processes: Processes that share each batch.

    Attributes:
        trained: Batches on which each model was the active one.
        distilled: Batches on which the base model took a second step, towards the motivated model's
            outputs.
        skipped: Batches whose loss was no number, on which each active model ran forward alone.
        evaluated: Batches that each model was validated on.
        reestimated: Batches on which each model's statistics were estimated anew.
    """

    def __init__(self, macs: Mapping[ModelName, ModelMacs], processes: int = 1) -> None:
        self.macs = macs
        self.processes = processes
        self.trained = {name: Work() for name in MODEL_NAMES}
        self.distilled = Work()
        self.skipped = {name: Work() for name in MODEL_NAMES}
        self.evaluated = {name: Work() for name in MODEL_NAMES}
        self.reestimated = {name: Work() for name in MODEL_NAMES}

    def forward_flops(self, model: ModelName) -> int:
        """FLOPs of the forward passes of training one model."""
        skipped = self.skipped[model]
        forward = self.macs[model].forward
        return forward.flops(*self._steps(model)) + forward.flops(skipped.iters * self.processes, skipped.images)

    def backward_flops(self, model: ModelName) -> int:
        """FLOPs of the backward passes of training one model."""
        return self.macs[model].backward.flops(*self._steps(model))

    def train_flops(self, model: ModelName) -> int:
        """FLOPs that training has spent on one model."""
        return self.forward_flops(model) + self.backward_flops(model)

    def _steps(self, model: ModelName) -> tuple[int, int]:
        """Batches, one a process, and images of all training steps of a model."""
        iters, images = self.trained[model].iters, self.trained[model].images
        if model == 'base':
            iters, images = iters + self.distilled.iters, images + self.distilled.images
        return iters * self.processes, images

    @property
    def total_train_flops(self) -> int:
        """FLOPs that training has spent on both models."""
        return self.train_flops('base') + self.train_flops('motivated')

    @property
    def motivated_alone_train_flops(self) -> int:
        """FLOPs that training the motivated model alone would have spent on the same batches."""
        return self._flops('motivated', *(self._total(field) for field in ('iters', 'images')))

    def evaluation_flops(self, model: ModelName) -> int:
        """FLOPs of validating one model; no part of training."""
        return self._inference_flops(model, self.evaluated[model])

    def reestimation_flops(self, model: ModelName) -> int:
        """FLOPs of estimating the statistics of one model anew; no part of training."""
        return self._inference_flops(model, self.reestimated[model])

    def _inference_flops(self, model: ModelName, work: Work) -> int:
        return self.macs[model].inference.flops(work.iters, work.images)

    def images_per_second(self, model: ModelName) -> float | None:
        """Images that training took in a second of the batches of one active model; ``None`` before any."""
        return _rate(self.trained[model].images, self.trained[model].seconds)

    def flops_per_second(self, model: ModelName) -> float | None:
        """FLOPs that training achieved in a second of the batches of one active model; ``None`` before any."""
        return _rate(self.batch_flops(model), self.trained[model].seconds)

    def batch_flops(self, model: ModelName) -> int:
        """FLOPs of the batches of one active model; a motivated one includes the base's further step."""
        flops = self._flops(model, self.trained[model].iters, self.trained[model].images)
        if model == 'motivated':
            flops += self._flops('base', self.distilled.iters, self.distilled.images)
        return flops

    def forecast(self, iters: int, images: int, batch_size: int, distillation: bool) -> Compute:
        """What training has cost and can still cost.

        Args:
            iters: Batches of the whole run.
            images: Images of the whole run.
            batch_size: Images of a full batch of all processes.
            distillation: Whether the base model takes a further step on every motivated batch.
        """

        def flops(iters: int, images: int) -> dict[str, int]:
            base, motivated = (self._flops(name, iters, images) for name in MODEL_NAMES)
            return {'base': base, 'motivated': motivated + base * distillation}

        return Compute(
            spent=self.total_train_flops,
            left=flops(iters - self._total('iters'), images - self._total('images')),
            batch=flops(1, batch_size),
            motivated_alone=self._flops('motivated', iters, images),
        )

    def _flops(self, model: ModelName, iters: int, images: int) -> int:
        return self.macs[model].train_flops(iters * self.processes, images)

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
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for kind in _KINDS:
            setattr(self, kind, {name: Work(**state_dict[kind][name]) for name in MODEL_NAMES})
        self.distilled = Work(**state_dict['distilled'])


_KINDS = ('trained', 'skipped', 'evaluated', 'reestimated')


def _rate(amount: float, seconds: float) -> float | None:
    return amount / seconds if seconds else None
