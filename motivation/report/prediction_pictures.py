"""Pictures of what the two models say: images that only one gets right, and the confusions of each."""

from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from motivation.errors import one_line
from motivation.evaluation.predictions import Predictions
from motivation.report.class_results import confusion_matrix
from motivation.report.switch_plot import COLOURS
from motivation.structures import MODEL_NAMES, ModelName

# Images that are shown of each model, in rows of so many.
SHOWN, _COLUMNS = 12, 6

# Columns that the titles need.
_FEWEST = 3

# Height of a title in inches.
_TITLE = 0.4

# Classes that a picture of confusions shows, and how many of them have room for numbers.
CLASSES, _NUMBERED = 25, 12


def only_one_right(predictions: Predictions, model: ModelName) -> np.ndarray:
    """Return the rows of the images that only one of the two models gets right, most confident first.

    Args:
        predictions: The predictions of both models.
        model: The model that is right.
    """
    other = 'base' if model == 'motivated' else 'motivated'
    rows = np.flatnonzero(predictions.right(model) & ~predictions.right(other))
    confidence = predictions.probabilities[model][rows]
    confidence = confidence if confidence.ndim == 1 else np.abs(confidence - 0.5).min(axis=1)
    return rows[np.argsort(-confidence, kind='stable')]


def draw_disagreements(
    predictions: Predictions, classes: Sequence[str], load: Callable[[int], Tensor | None], file: BinaryIO
) -> None:
    """Draw images that only one of the two models gets right, with their classes and what each model says.

    Args:
        predictions: The predictions of both models.
        classes: Names of the classes.
        load: Returns the image of an index, (C, H, W), or ``None`` if it cannot be read.
        file: The binary file to write a PNG image to.
    """
    groups = {model: only_one_right(predictions, model) for model in MODEL_NAMES}
    columns = min(_COLUMNS, max(_FEWEST, *map(len, groups.values())))
    lines = [-(-min(len(rows), SHOWN) // columns) for rows in groups.values()]
    heights = [max(2.5 * height, _TITLE) for height in lines]  # in inches; without images there is only the title
    figure = Figure(figsize=(1.9 * columns, sum(heights) + 2 * _TITLE), layout='constrained')
    parts = np.asarray(figure.subfigures(2, 1, height_ratios=heights)).tolist()
    for part, height, (model, rows) in zip(parts, lines, groups.items(), strict=True):
        shown = f', {SHOWN} of them' if len(rows) > SHOWN else ''
        part.suptitle(f'only the {model} model is right: {len(rows):,} of {len(predictions.names):,}{shown}')
        places = np.atleast_1d(part.subplots(height, columns)).ravel() if height else ()
        for axes in places:
            axes.axis('off')
        for axes, row in zip(places, rows[:SHOWN], strict=False):
            image = load(int(predictions.indices[row]))
            if image is not None:
                axes.imshow(_pixels(image), cmap='gray' if image.shape[0] != 3 else None)
            axes.set_title(_said(predictions, int(row), classes), fontsize=8, loc='left', parse_math=False)
    figure.savefig(file, dpi=100)


def _said(predictions: Predictions, row: int, classes: Sequence[str]) -> str:
    """Return the class of an image and what each model says, on three lines."""

    def named(values: np.ndarray) -> str:
        labels: list[int] = np.flatnonzero(values).tolist() if values.ndim else [int(values)]
        return one_line(', '.join(classes[label] for label in labels) or 'none', 24)

    lines = [f'true: {named(predictions.targets[row])}']
    for model in MODEL_NAMES:
        probability = predictions.probabilities[model][row]
        said = np.atleast_1d(probability[predictions.predicted[model][row]] if probability.ndim else probability)
        sure = f' ({", ".join(f"{100 * value:.0f}" for value in said[:3])} %)' if len(said) else ''
        lines.append(f'{model}: {named(predictions.predicted[model][row])}{sure}')
    return '\n'.join(lines)


def _pixels(image: Tensor) -> np.ndarray:
    """Return an image as (H, W, 3) or (H, W) for matplotlib, brought to the range 0 to 1 where it exceeds it."""
    values: np.ndarray = (image if image.is_floating_point() else image / 255).detach().cpu().float().numpy()
    if values.min() < 0 or values.max() > 1:
        values = (values - values.min()) / max(float(values.max() - values.min()), 1e-6)
    return values.transpose(1, 2, 0) if len(values) == 3 else values[0]


def draw_confusions(predictions: Predictions, classes: Sequence[str], file: BinaryIO) -> None:
    """Draw the confusion matrix of each model, in percent of the images of a class.

    The row of a class without images is hatched. Of many classes, those of the most frequent confusions are drawn.

    Args:
        predictions: The predictions, of one class an image.
        classes: Names of the classes.
        file: The binary file to write a PNG image to.
    """
    scored = [name for name in MODEL_NAMES if name in predictions.predicted]
    matrices = {name: confusion_matrix(predictions, name, len(classes)) for name in scored}
    chosen = _most_confused(matrices.values())
    side = 1.8 + 0.32 * max(len(chosen), 8)
    figure = Figure(figsize=(side * len(scored) + 0.8, side + 1.0), layout='constrained')
    some = f', the {CLASSES} of {len(classes):,} classes that are confused most' if len(classes) > CLASSES else ''
    figure.suptitle(f'percent of the images of each class that are taken for each class{some}')
    for axes, name in zip(figure.subplots(1, len(scored), squeeze=False)[0], scored, strict=True):
        images = matrices[name].sum(axis=1, keepdims=True)
        percent = np.where(images, 100 * matrices[name] / np.maximum(images, 1), np.nan)
        _draw_matrix(axes, percent[np.ix_(chosen, chosen)], [classes[one] for one in chosen])
        axes.set_title(name, color=COLOURS[name])
    figure.savefig(file, dpi=100)


def _most_confused(matrices: Iterable[np.ndarray]) -> np.ndarray:
    """Return the classes of the most frequent confusions of both models, ascending; all if they are few."""
    errors = np.sum([matrix - np.diag(matrix.diagonal()) for matrix in matrices], axis=0)
    pairs = np.column_stack(np.unravel_index(np.argsort(-errors, axis=None, kind='stable'), errors.shape))
    return np.array(sorted(list(dict.fromkeys(pairs[: CLASSES**2].ravel().tolist()))[:CLASSES]))


def _draw_matrix(axes: Axes, percent: np.ndarray, labels: Sequence[str]) -> None:
    """Draw a matrix whose errors are shaded by the square root, so that rare ones are seen as well.

    Rows of nan, of classes without images, are hatched.
    """
    axes.imshow(np.sqrt(percent), cmap='Blues', vmin=0, vmax=10)
    for row in np.flatnonzero(np.isnan(percent).all(axis=1)).tolist():
        axes.axhspan(row - 0.5, row + 0.5, facecolor='0.92', edgecolor='0.6', hatch='///', linewidth=0)
        axes.text((len(labels) - 1) / 2, row, 'no images', ha='center', va='center', fontsize=8)
    names = [one_line(label, 16) for label in labels]
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8, parse_math=False)
    axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    axes.set(xlabel='predicted', ylabel='true')
    if len(names) <= _NUMBERED:
        for (row, column), value in np.ndenumerate(percent):
            if value > 0:
                axes.text(
                    column, row, f'{value:.0f}', ha='center', va='center', fontsize=8,
                    color='white' if value > 40 else 'black',
                )  # fmt: skip
