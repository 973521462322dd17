"""Classifying images with a trained model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from motivation.datasets import init_worker
from motivation.datasets.unlabelled import Images, UnlabelledBatch, UnlabelledImages, collate_unlabelled
from motivation.errors import ArgumentError, ConfigError, reason
from motivation.evaluation.predictions import THRESHOLD
from motivation.export.image_description import MODES
from motivation.export.opened_model import OpenedModel, find_models
from motivation.models.timm_classifier import Outputs
from motivation.utils.arguments import Count, checked

# What the models of one run agree on, so that each image is read once for all of them.
_SHARED = ('classes', 'outputs', 'input_size', 'transforms', 'image_mode', 'decoder')

# Number of images that are read and predicted at once, by default.
BATCH_SIZE = 64


@dataclass(frozen=True)
class Guess:
    """One class and its probability.

    Attributes:
        index: Index of the class.
        name: Its name, or its index as text if names are not known.
        probability: From 0 to 1.
    """

    index: int
    name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What the models say about one image.

    Attributes:
        image: The image as it was given.
        probabilities: Of the K classes, float32 (K,), by the name of the model; empty if the image cannot be used. With
            several labels an image each is of a class by itself, and they do not add up to 1.
        problem: Why the image cannot be used, as the end of a sentence; ``''`` if it can.
        remark: What is wrong with an image that can be used nevertheless; ``''`` if nothing is.
        classes: Names of the K classes; ``None`` if they are not known.
    """

    image: Any
    probabilities: Mapping[str, Tensor] = field(default_factory=dict)
    problem: str = ''
    remark: str = ''
    classes: Sequence[str] | None = None

    def top(self, k: int = 1, model: str | None = None) -> list[Guess]:
        """Return the most probable classes, the most probable first.

        Args:
            k: Number of classes, or all if there are fewer.
            model: Name of the model; ``None`` (default) for the first.

        Raises:
            ConfigError: The image cannot be used.
        """
        probabilities = self._of(model)
        values, indices = probabilities.topk(min(k, len(probabilities)))
        return [
            Guess(index, str(index) if self.classes is None else self.classes[index], value)
            for index, value in zip(indices.tolist(), values.tolist(), strict=True)
        ]

    def above(self, threshold: float = THRESHOLD, model: str | None = None) -> list[Guess]:
        """Return every class that is more probable than a threshold, the most probable first; for several labels an image.

        Args:
            threshold: From 0 to 1. Default: 0.5.
            model: Name of the model; ``None`` (default) for the first.

        Raises:
            ConfigError: The image cannot be used.
        """
        count = int((self._of(model) > threshold).sum())
        return self.top(count, model) if count else []

    def _of(self, model: str | None) -> Tensor:
        if self.problem:
            raise ConfigError(f'{self.image!r} {self.problem}')
        return self.probabilities[next(iter(self.probabilities)) if model is None else model]


class Predictor:
    """Classifies images with one trained model, or with both of a run.

    Images are read, and transformed, as the run read its validation data: upright, of its image mode, with its
    transforms. Networks compute in float32, also those that were trained and validated in mixed precision.

    Legend: K classes.

    Args:
        models: Models by name, which take the same images and have the same classes.

    Raises:
        ConfigError: The models take different images, or how they take them is not known.

    Example:
        >>> predictor = Predictor.load('work_dirs/flowers/base.pth')
        >>> for prediction in predictor(['rose.jpg', 'tulip.jpg']):
        ...     print(prediction.image, prediction.top(2))  # or, with several labels an image, prediction.above(0.5)

    Attributes:
        outputs: What turns logits into probabilities: ``'softmax'``, or ``'sigmoid'`` for several labels an image.
    """

    def __init__(self, models: Mapping[str, OpenedModel]) -> None:
        self.models = dict(models)
        first, *others = self.models.values()
        for other, name in ((other, name) for other in others for name in _SHARED):
            if other.description.get(name) != first.description.get(name):
                raise ConfigError(
                    f"'{first.path}' and '{other.path}' have different {name}; predict with one at a time"
                )
        self.path, self.description = first.path, first.description
        self.classes: Sequence[str] | None = self.description.get('classes')
        self.outputs: Outputs = self.description.get('outputs') or 'softmax'  # which earlier versions did not write
        for name in ('input_size', 'transforms'):
            if self.description.get(name) is None:
                raise ConfigError(
                    f"'{self.path}' does not say the {name} of its images; give a model of images, exported by a run whose "
                    'validation data set has the argument transforms'
                )
        channels = self.description['input_size'][0]
        mode = self.description.get('image_mode') or MODES.get(channels)
        if mode is None:
            raise ConfigError(f"'{self.path}' takes images of {channels} channels, which image files do not have")
        self.image_mode: str = mode
        self._dataset(())  # refuses transforms that cannot be built

    @classmethod
    def load(cls, path: str | Path, models: Sequence[str] | None = None, device: str | None = None) -> 'Predictor':
        """Load one or several models.

        Args:
            path: See :func:`~motivation.export.opened_model.find_models`.
            models: Names of the models to take of a run; ``None`` (default) for the base and the motivated model.
            device: Device of models in ``.pth`` files; ``None`` (default) for a GPU if there is one.

        Raises:
            ConfigError: There is no such model, or it cannot be loaded.
        """
        files = find_models(Path(path), models)
        return cls({name: OpenedModel.open(file, device) for name, file in files.items()})

    @checked
    def __call__(self, images: Images, batch_size: Count = BATCH_SIZE, workers: int = 0) -> Iterator[Prediction]:
        """Predict images, one after another.

        Memory does not grow with their number.

        Args:
            images: Paths of image files, or PIL images; :func:`~motivation.datasets.found_images.find_images` finds
                those of folders.
            batch_size: Number of images that are predicted at once. Default: 64.
            workers: Number of processes that read images while the model runs; 0 (default) reads in this one.

        Returns:
            One prediction an image, in order, made as they are asked for. An image that cannot be used has a
            ``problem``.

        Raises:
            ConfigError: An argument is invalid, no image of the first batch has the size that the model takes, or the
                model does not take such images or has other classes.
        """
        if workers < 0:
            raise ArgumentError('workers', f'must be at least 0, got {workers}')
        return self._predict(images, batch_size, workers)

    def _predict(self, images: Images, batch_size: int, workers: int) -> Iterator[Prediction]:
        dataset = self._dataset(images)
        loader = DataLoader(
            dataset, batch_size, num_workers=workers, collate_fn=collate_unlabelled, worker_init_fn=init_worker
        )
        done = 0
        for batch in loader:
            if done == 0 and batch.inputs is None and any(batch.misfits):
                place = batch.misfits.index(True)
                raise ConfigError(f'{dataset.name(place)} {batch.problems[place]}')
            yield from self._of_batch(images[done : done + len(batch.problems)], batch)
            done += len(batch.problems)

    def _of_batch(self, images: Images, batch: UnlabelledBatch) -> Iterator[Prediction]:
        answers: Iterator[dict[str, Tensor]] = iter(())
        if batch.inputs is not None:
            of_model = {name: self._probabilities(model, batch.inputs) for name, model in self.models.items()}
            answers = iter([dict(zip(of_model, rows, strict=True)) for rows in zip(*of_model.values(), strict=True)])
        for image, problem, remark in zip(images, batch.problems, batch.remarks, strict=True):
            if problem:
                yield Prediction(image, problem=problem)
                continue
            probabilities = next(answers)
            if not all(bool(row.isfinite().all()) for row in probabilities.values()):
                yield Prediction(image, problem='gives logits that are not finite', remark=remark)
            else:
                yield Prediction(image, probabilities, remark=remark, classes=self.classes)

    def _probabilities(self, model: OpenedModel, inputs: Tensor) -> Tensor:
        """Return the probabilities (N, K) of images (N, C, H, W)."""
        try:
            logits = model.logits(inputs)
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise ConfigError(
                f'batch_size is {len(inputs)}, which does not fit into memory; give a smaller one'
            ) from error
        except Exception as error:  # frameworks raise errors of any type
            raise ConfigError(
                f"'{model.path}' does not take images of {' x '.join(map(str, inputs.shape[1:]))} ({reason(error)}); "
                'is it the model that is described beside it? export it again'
            ) from error
        if logits.ndim != 2 or (self.classes is not None and logits.shape[1] != len(self.classes)):
            raise ConfigError(
                f"'{model.path}' returns logits of shape {list(logits.shape)} for {len(inputs)} images, and its description "
                f'names {"no" if self.classes is None else len(self.classes)} classes; it is of another model, export it '
                'again'
            )
        return logits.sigmoid() if self.outputs == 'sigmoid' else torch.softmax(logits, dim=1)

    def _dataset(self, images: Images) -> UnlabelledImages:
        try:
            return UnlabelledImages(
                images,
                self.description['transforms'],
                self.image_mode,
                self.description.get('decoder') or 'opencv',
                self.description['input_size'],
            )
        except Exception as error:  # transforms raise errors of any type
            raise ConfigError(
                f"the transforms of '{self.path}' cannot be built: {error}; import the module that registers them first"
            ) from error
