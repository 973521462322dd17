"""What each model said of each validation image."""

import ast
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_world_size
from torch import Tensor

# Probability from which on a label counts as predicted, of images with several labels.
THRESHOLD = 0.5


@dataclass(frozen=True)
class Predictions:
    """The predictions of all models of one validation, in the order of the data set.

    Legend: N images, K classes.

    Attributes:
        names: Name of each image: its file, or ``'image <index>'``.
        indices: Its index in the data set, (N,); -1 if it is not known.
        targets: Its class, (N,), or whether it has each label, (N, K).
        predicted: What each model predicted, by the name of what was scored (``'base'``, ``'base/ema'``): the class of
            the highest logit, (N,), or the labels of a probability of at least 0.5, (N, K).
        probabilities: That of the predicted class, (N,), or of each label, (N, K).
    """

    names: Sequence[str]
    indices: np.ndarray
    targets: np.ndarray
    predicted: Mapping[str, np.ndarray]
    probabilities: Mapping[str, np.ndarray]

    @property
    def several_labels(self) -> bool:
        """Whether images have several labels."""
        return self.targets.ndim == 2

    def right(self, scored: str) -> np.ndarray:
        """Return for each image whether a model was right, (N,), of several labels with all of them."""
        equal = self.predicted[scored] == self.targets
        return equal.all(axis=1) if self.several_labels else equal

    def state_dict(self) -> dict[str, Any]:
        """Return the predictions as plain data."""
        return {
            'names': list(self.names),
            'indices': torch.from_numpy(self.indices),
            'targets': torch.from_numpy(self.targets),
            'predicted': {name: torch.from_numpy(values) for name, values in self.predicted.items()},
            'probabilities': {name: torch.from_numpy(values) for name, values in self.probabilities.items()},
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> 'Predictions':
        """Build from what :meth:`state_dict` returned."""
        arrays = {part: {name: values.numpy() for name, values in state[part].items()} for part in _BY_MODEL}
        return cls(state['names'], state['indices'].numpy(), state['targets'].numpy(), **arrays)

    def of(self, rows: np.ndarray) -> 'Predictions':
        """Return the predictions for some images."""
        arrays = {part: {name: values[rows] for name, values in getattr(self, part).items()} for part in _BY_MODEL}
        return Predictions([self.names[row] for row in rows], self.indices[rows], self.targets[rows], **arrays)


_BY_MODEL = ('predicted', 'probabilities')


class PredictionCollector:
    """Collects the predictions of a validation, a batch at a time, without the logits."""

    def __init__(self) -> None:
        self._batches: list[Predictions] = []
        self._images = 0

    def add(self, outputs: Mapping[str, Sequence[Mapping[str, Tensor]]], batch: Any) -> None:
        """Add the predictions for a batch.

        Args:
            outputs: For all that is scored, by name, ``'logits'``, (K,), and ``'target'`` of each image.
            batch: The batch, which may know the ``names`` and ``indices`` of its images.

        Raises:
            TypeError: The outputs have another form.
        """
        predicted, probabilities = {}, {}
        for name, samples in outputs.items():
            predicted[name], probabilities[name] = _predict(samples)
        targets = torch.stack([sample['target'] for sample in next(iter(outputs.values()))]).cpu()
        count = len(targets)
        indices = getattr(batch, 'indices', None)
        places = range(self._images, self._images + count)
        names = getattr(batch, 'names', None) or [f'image {index}' for index in indices or places]
        self._images += count
        self._batches.append(
            Predictions(
                [_unquoted(name) for name in names],
                np.array(indices if indices is not None else [-1] * count, np.int64),
                targets.numpy().astype(bool) if targets.ndim == 2 else targets.numpy().astype(np.int32),
                predicted,
                probabilities,
            )
        )

    def gather(self, size: int) -> Predictions | None:
        """Return the predictions of all processes, each image once; a collective call.

        Args:
            size: Number of images in the data set: where indices are not known, further ones were added by a sampler to
                give all processes the same number.

        Returns:
            The predictions, or ``None`` if there are none.
        """
        own = _joined(self._batches) if self._batches else None
        gathered: list[Predictions | None] = all_gather_object(own) if get_world_size() > 1 else [own]
        parts = [part for part in gathered if part is not None]
        if not parts:
            return None
        together = _joined(parts)
        known, first = np.unique(together.indices, return_index=True)
        # More repetitions than a sampler adds: a wrapper of data sets passes on the indices within these.
        are_usable = known[0] >= 0 and known[-1] < size and len(together.names) - len(known) < len(gathered)
        if are_usable:
            return together.of(first)
        together = dataclasses.replace(together, indices=np.full_like(together.indices, -1))
        # Samplers deal images to processes in turn.
        order = np.argsort(np.concatenate([np.arange(len(part.names)) for part in parts]), kind='stable')
        return together.of(order[:size])


def _predict(samples: Sequence[Mapping[str, Tensor]]) -> tuple[np.ndarray, np.ndarray]:
    """Return what a model predicts for the images of a batch, and the probabilities."""
    if not isinstance(samples[0], Mapping) or not {'logits', 'target'} <= samples[0].keys():
        raise TypeError("the models do not return 'logits' and 'target' of each sample")
    if samples[0]['logits'].ndim != 1 or samples[0]['target'].ndim > 1:
        raise TypeError('the models return more than one vector of logits a sample')
    logits = torch.stack([sample['logits'] for sample in samples]).float()
    if samples[0]['target'].ndim == 1:
        probabilities = logits.sigmoid().cpu().numpy()
        return probabilities >= THRESHOLD, probabilities
    highest, classes = logits.softmax(dim=1).max(dim=1)
    return classes.cpu().numpy().astype(np.int32), highest.cpu().numpy()


def _unquoted(name: str) -> str:
    """Return the path of a file that messages put in quotes; any other name is returned as it is."""
    try:
        return str(ast.literal_eval(name)) if name[:1] in ('"', "'") else name
    except (SyntaxError, ValueError):  # such as a file in quotes within another
        return name


def _joined(parts: Sequence[Predictions]) -> Predictions:
    arrays = {
        part: {name: np.concatenate([getattr(one, part)[name] for one in parts]) for name in getattr(parts[0], part)}
        for part in _BY_MODEL
    }
    names = [name for one in parts for name in one.names]
    return Predictions(
        names, np.concatenate([one.indices for one in parts]), np.concatenate([one.targets for one in parts]), **arrays
    )
