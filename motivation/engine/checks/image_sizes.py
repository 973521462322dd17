"""Checking before training that both models can be trained at every image size of the parts of a run."""

from typing import Any

from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader

from motivation.datasets import first_batch
from motivation.engine.checks.batch_checks import has_single_samples
from motivation.errors import ConfigError, reason
from motivation.structures import MODEL_NAMES
from motivation.utils.training_mode import training_mode
from motivation.utils.training_parts import TrainingParts, resized


def check_image_sizes(runner: Runner, parts: TrainingParts, loader: DataLoader, batches: int) -> None:
    """Check that both models can be trained on images of every size, two at a time or, if a batch has only one, one.

    The caller preserves buffers and random states, and disables gradients.

    Args:
        runner: The run.
        parts: The parts of the training.
        loader: The training data loader.
        batches: Number of batches of the run.

    Raises:
        ConfigError: A part has no batch, the data are no images, a size is larger than theirs, or a model cannot be
            trained at a size; names the field, the model and the fix.
    """
    if not parts.resizes:
        return
    ends = parts.ends(batches)
    for place, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
        if begin == end:
            raise ConfigError(
                f'train_cfg.parts.{place}.share is {parts.parts[place].share}, less than a batch of the {batches:,} of the run: '
                'raise it, or leave the part out'
            )
    count = 1 if has_single_samples(loader) else 2
    batch = first_batch(loader.dataset, collate_fn=lambda samples: loader.collate_fn(samples * count))
    inputs = batch.get('inputs')
    if not isinstance(inputs, Tensor) or inputs.ndim != 4:
        raise ConfigError('train_cfg.parts is given, and train_dataloader.dataset gives no images: leave it out')
    for place, part in enumerate(parts.parts):
        if part.size is None:
            continue
        field, written = f'train_cfg.parts.{place}.image_size', ' x '.join(map(str, part.size))
        full = inputs.shape[-2:]
        if part.size[0] > full[0] or part.size[1] > full[1]:
            raise ConfigError(
                f'{field} is {written}, and the images of train_dataloader.dataset are {" x ".join(map(str, full))}: give at '
                'most that'
            )
        _check_size(runner, field, written, resized(batch, part.size))


def _check_size(runner: Runner, field: str, written: str, batch: Any) -> None:
    for name in MODEL_NAMES:
        model = getattr(runner.model, name)
        try:
            with training_mode(model):
                model._run_forward(model.data_preprocessor(batch, True), mode='loss')
        except Exception as error:  # a network may raise any exception
            raise ConfigError(
                f'{field} is {written}, and model.{name} cannot be trained on images of that size: {reason(error)}; give a '
                'network that takes any size (a ViT with dynamic_img_size=True), or another image_size'
            ) from error
