"""The predictions for each validation image as ``predictions.csv``."""

import csv
import io
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from motivation.evaluation.predictions import Predictions


def write_predictions(predictions: Predictions, classes: Sequence[str], file: BinaryIO) -> None:
    """Write a row for each image: what it is, and what each model said of it.

    The columns are ``image``, ``index`` and ``target``, and of all that was scored, such as ``base`` or
    ``base_ema``: the predicted class, its probability (``base_probability``) and whether it is right, 1 or 0
    (``base_right``). Several labels are joined by ``|``, as are the probabilities of the predicted ones.

    Args:
        predictions: The predictions.
        classes: Names of the classes.
        file: The binary file to write to.
    """
    text = io.TextIOWrapper(file, 'utf-8', newline='')
    writer = csv.writer(text, lineterminator='\n')
    columns: list[Sequence[str]] = [
        list(predictions.names),
        [str(index) if index >= 0 else '' for index in predictions.indices],
        _named(predictions.targets, classes),
    ]
    heads = ['image', 'index', 'target']
    for scored, predicted in predictions.predicted.items():
        name = scored.replace('/', '_')
        heads += [name, f'{name}_probability', f'{name}_right']
        columns += [
            _named(predicted, classes),
            _probabilities(predictions.probabilities[scored], predicted),
            [str(int(right)) for right in predictions.right(scored)],
        ]
    writer.writerow(heads)
    writer.writerows(zip(*columns, strict=True))
    text.flush()
    text.detach()  # the caller closes the file


def _named(values: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Return the name of each class, (N,), or the names of the labels of each image, (N, K)."""
    if values.ndim == 1:
        return [classes[value] for value in values]
    return ['|'.join(classes[place] for place in np.flatnonzero(row).tolist()) for row in values]


def _probabilities(values: np.ndarray, predicted: np.ndarray) -> list[str]:
    if values.ndim == 1:
        return [f'{value:.6f}' for value in values]
    return ['|'.join(f'{value:.6f}' for value in row[said]) for row, said in zip(values, predicted, strict=True)]
