"""What training has cost so far."""

from collections.abc import Mapping
from typing import Any

from motivation.analysis.macs import TrainStepMacs
from motivation.policies.compute import Compute
from motivation.weight_maps import ModelName


class ComputeMeter:
    """Adds up the training compute of both models, batch by batch, from true batch sizes.

    Args:
        macs: Compute of a training step of each model.

    Attributes:
        iters: Batches each model trained on.
        images: Images each model trained on.
        distillation_iters: Batches on which the base model took a second step, towards the motivated
            model's outputs.
        distillation_images: Images of those batches.
    """

    def __init__(self, macs: Mapping[ModelName, TrainStepMacs]) -> None:
        self.macs = macs
        self.iters: dict[ModelName, int] = {'base': 0, 'motivated': 0}
        self.images: dict[ModelName, int] = {'base': 0, 'motivated': 0}
        self.distillation_iters = self.distillation_images = 0

    def update(self, model: ModelName, images: int) -> None:
        """Count one training step of ``model`` on a batch of ``images`` images."""
        self.iters[model] += 1
        self.images[model] += images

    def update_distillation(self, images: int) -> None:
        """Count a further step of the base model on a batch that the motivated model trained on."""
        self.distillation_iters += 1
        self.distillation_images += images

    def train_flops(self, model: ModelName) -> int:
        """FLOPs that training has spent on one model."""
        iters, images = self.iters[model], self.images[model]
        if model == 'base':
            iters, images = iters + self.distillation_iters, images + self.distillation_images
        return self.macs[model].train_flops(iters, images)

    @property
    def total_train_flops(self) -> int:
        """FLOPs that training has spent on both models."""
        return self.train_flops('base') + self.train_flops('motivated')

    @property
    def motivated_alone_train_flops(self) -> int:
        """FLOPs that training the motivated model alone would have spent on the same batches."""
        return self.macs['motivated'].train_flops(sum(self.iters.values()), sum(self.images.values()))

    def forecast(self, iters: int, images: int, batch_size: int, distillation: bool) -> Compute:
        """What training has cost and can still cost.

        Args:
            iters: Batches of the whole run.
            images: Images of the whole run.
            batch_size: Images of a full batch.
            distillation: Whether the base model takes a further step on every motivated batch.
        """

        def flops(iters: int, images: int) -> dict[str, int]:
            base, motivated = (self.macs[name].train_flops(iters, images) for name in ('base', 'motivated'))
            return {'base': base, 'motivated': motivated + base * distillation}

        return Compute(
            spent=self.total_train_flops,
            left=flops(iters - sum(self.iters.values()), images - sum(self.images.values())),
            batch=flops(1, batch_size),
            motivated_alone=self.macs['motivated'].train_flops(iters, images),
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            'iters': dict(self.iters),
            'images': dict(self.images),
            'distillation': [self.distillation_iters, self.distillation_images],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.iters, self.images = dict(state_dict['iters']), dict(state_dict['images'])
        self.distillation_iters, self.distillation_images = state_dict['distillation']
