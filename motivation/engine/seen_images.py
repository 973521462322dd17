"""What the two models see of a batch of images, drawn."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.runner import Runner
from torch import Tensor

from motivation.datasets import class_names
from motivation.models import ImagePreprocessor
from motivation.report.batch_picture import MOST_IMAGES, draw_batch
from motivation.structures import MODEL_NAMES
from motivation.utils.files import write_whole
from motivation.utils.random_state import preserved_random_state


def draw_seen(runner: Runner, batch: Any, path: Path) -> None:
    """Draw the images of a training batch as each model sees them, with the names of their classes.

    Images are augmented and preprocessed as in training, except for mixup, and the normalisation is undone. If both models
    see the same pixels, these are drawn once.

    Args:
        runner: The runner, with its models and training data.
        batch: A batch of its training data.
        path: The PNG file.

    Raises:
        OSError: The file cannot be written.
    """
    count = min(MOST_IMAGES, len(batch['inputs']))
    seen = {name: _seen(getattr(runner.model, name), batch, count) for name in MODEL_NAMES}
    base, motivated = seen.values()
    if np.array_equal(base, motivated):
        groups = {_title(runner, ' and '.join(seen), base): base}
    else:
        count = min(count, MOST_IMAGES // 2)
        groups = {_title(runner, name, images): images[:count] for name, images in seen.items()}
    labels = _labels(batch.get('targets'), class_names(runner.train_dataloader.dataset), count)
    write_whole(path, lambda file: draw_batch(groups, labels, file))


def _title(runner: Runner, models: str, images: np.ndarray) -> str:
    mixes = any(getattr(getattr(runner.model, name).data_preprocessor, 'mixup', None) for name in MODEL_NAMES)
    size = ' x '.join(map(str, images.shape[1:]))
    return f'{models}: {size}, augmented as in training' + (', before mixup' if mixes else '')


def _seen(model: Any, batch: Any, count: int) -> np.ndarray:
    """Return images as a model sees them, uint8 (count, 1 or 3, H, W)."""
    preprocessor = model.data_preprocessor
    inputs: Tensor = batch['inputs'][:count]
    if isinstance(preprocessor, ImagePreprocessor):
        with torch.no_grad(), preserved_random_state():
            inputs = preprocessor({'inputs': inputs})['inputs'] * preprocessor.std + preprocessor.mean
    if inputs.is_floating_point():
        inputs = (inputs.float().clamp(0, 1) * 255).round().to(torch.uint8)
    channels = 3 if inputs.shape[1] >= 3 else 1  # of more channels, the first ones
    return inputs[:, :channels].cpu().numpy()


def _labels(targets: Any, classes: list[str] | None, count: int) -> list[list[str]]:
    """Return the names of the classes of each image, or their numbers."""
    if not isinstance(targets, Tensor):
        return [[]] * count
    rows = (
        [[label] for label in targets.tolist()]
        if targets.ndim == 1
        else [row.nonzero().flatten().tolist() for row in targets]
    )
    return [[str(label) if classes is None else classes[label] for label in row] for row in rows[:count]]
