"""The base model's loss on the same training samples, measured again and again."""

from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Subset

from motivation.datasets import some_at_random
from motivation.errors import ConfigError
from motivation.structures import ModelName
from motivation.utils.arguments import Count, checked
from motivation.utils.batches import run_network, without_targets
from motivation.utils.precision import autocast, full_precision
from motivation.utils.random_state import preserved_random_state, seed_everything
from motivation.utils.training_mode import evaluation_mode, uncompiled


class HeldInLoss:
    """The loss of the base model, in evaluation mode, on training samples that are drawn once.

    The samples are transformed once, too, and remain in memory; they are the same in a resumed run. Several processes
    share them out. Measuring changes neither the active model nor statistics nor
    random states.

    Args:
        runner: The run.
        every: Batches between two measurements, at least 1. Default: 10.
        images: Number of samples, at least 1. Default: 256.

    Attributes:
        images: Number of samples of this process.

    Raises:
        ConfigError: There are fewer training samples or more processes than ``images``, or the base model has no
            module ``loss``.
    """

    @checked
    def __init__(self, runner: Any, every: Count = 10, images: Count = 256) -> None:
        self._runner = runner
        self.every = every
        base, dataset = runner.model.base, runner.train_dataloader.dataset
        if not isinstance(getattr(base, 'loss', None), nn.Module):
            raise ConfigError(
                "motivation.policy asks for 'held_in_loss', which needs model.base to have a module 'loss' that is called "
                'with logits and targets; add it, or choose another policy'
            )
        if not get_world_size() <= images <= len(dataset):
            raise ConfigError(
                f"motivation.policy measures 'held_in_loss' on {images:,} images, and there are {len(dataset):,} training "
                f'images and {get_world_size()} processes; give images between the two'
            )
        with preserved_random_state():
            seed_everything(runner.seed)
            chosen = some_at_random(dataset, images - images % get_world_size())
            ours = Subset(dataset, chosen[get_rank() :: get_world_size()])
            batch = runner.train_dataloader.collate_fn(ours.__getitems__([*range(len(ours))]))
            prepared = base.data_preprocessor(batch, False)
        self._inputs, self._targets = without_targets(prepared), prepared['targets']
        mixes = getattr(base.data_preprocessor, 'mixup', None) is not None
        if mixes and self._targets.ndim == 1:  # its loss takes probabilities
            self._targets = F.one_hot(self._targets, base.num_classes).float()
        self.images = len(self._targets)

    def measure(self, model: ModelName) -> dict[str, Tensor]:
        """Return ``'held_in_loss'`` if it is due: of the weights before the step on this batch, after its forward pass."""
        if (self._runner.iter + 1) % self.every:
            return {}
        both = self._runner.model
        if both.active == 'motivated':
            both.transfer()  # the base model's weights are those of before the spell
        base = both.base
        with torch.no_grad(), evaluation_mode(base), uncompiled(base), autocast(both.precision, base):
            logits = full_precision(run_network(base, self._inputs))
            loss = base.loss(logits, self._targets)
        self._runner.call_hook('after_held_in_loss', images=self.images)
        return {'held_in_loss': loss}

    def left(self) -> int:
        """Return the number of measurements to come after this batch."""
        return self._runner.max_iters // self.every - (self._runner.iter + 1) // self.every
