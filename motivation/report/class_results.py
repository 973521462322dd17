"""Results of single classes, and the confusions of each model, of the last validation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from motivation.errors import one_line
from motivation.evaluation.predictions import Predictions
from motivation.report.markdown import markdown_table
from motivation.structures import MODEL_NAMES

# Classes and confusions that report.md shows; report.json has the results of all classes.
SHOWN = 10


def class_results(predictions: Predictions, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the result of each class that an image has.

    Args:
        predictions: The predictions.
        classes: Names of the classes.

    Returns:
        For each class ``'class'``, ``'images'`` and, for each model that was scored, the percentage of its images that
        were classified correctly; of several labels its F1 score in percent, 2 TP / (2 TP + FP + FN).
    """
    count = len(classes)
    true = predictions.targets if predictions.several_labels else np.eye(count, dtype=bool)[predictions.targets]
    images = true.sum(axis=0)
    columns: dict[str, np.ndarray] = {}
    for name in (name for name in MODEL_NAMES if name in predictions.predicted):
        said = predictions.predicted[name]
        said = said if predictions.several_labels else np.eye(count, dtype=bool)[said]
        hits = (true & said).sum(axis=0)
        of = (images + said.sum(axis=0)) / 2 if predictions.several_labels else images
        columns[name] = 100 * hits / np.maximum(of, 0.5)
    return [
        {
            'class': classes[place],
            'images': int(images[place]),
            **{name: float(values[place]) for name, values in columns.items()},
        }
        for place in range(count)
        if images[place]
    ]


def confusion_matrix(predictions: Predictions, scored: str, count: int) -> np.ndarray:
    """Return the number of images of each class (rows) that a model takes for each class (columns), (K, K)."""
    pairs = predictions.targets.astype(np.int64) * count + predictions.predicted[scored]
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


def worst_confusions(predictions: Predictions, scored: str, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the most frequent confusions of a model, at most :data:`SHOWN`; none of several labels.

    Returns:
        ``'true'``, ``'predicted'`` and ``'count'``, in descending order of the count, then by class.
    """
    if predictions.several_labels:
        return []
    matrix = confusion_matrix(predictions, scored, len(classes))
    np.fill_diagonal(matrix, 0)
    order = np.argsort(-matrix, axis=None, kind='stable')[:SHOWN]
    return [
        {'true': classes[true], 'predicted': classes[predicted], 'count': int(matrix[true, predicted])}
        for true, predicted in zip(*np.unravel_index(order, matrix.shape), strict=True)
        if matrix[true, predicted]
    ]


def add_class_results(report: dict[str, Any], predictions: Predictions, classes: Sequence[str]) -> None:
    """Add ``'classes'``, ``'class_score'`` and ``'confusions'`` to the content of a report.

    Args:
        report: The content of ``report.json``.
        predictions: The predictions of the last validation.
        classes: Names of the classes.
    """
    report['classes'] = class_results(predictions, classes)
    report['class_score'] = 'F1 in percent' if predictions.several_labels else 'percent right'
    report['confusions'] = {
        name: worst_confusions(predictions, name, classes) for name in MODEL_NAMES if name in predictions.predicted
    }


def render_classes(extra: Mapping[str, Any], noun: str = 'image') -> str:
    """Return the results of single classes and the worst confusions as Markdown; ``''`` if a report has none.

    Args:
        extra: What hooks have added to the report.
        noun: Name of a sample.
    """
    rows: list[dict[str, Any]] = list(extra.get('classes', ()))
    if not rows:
        return ''
    models = [name for name in MODEL_NAMES if name in rows[0]]
    worst = sorted(rows, key=lambda row: sum(row[name] for name in models))[:SHOWN] if len(rows) > SHOWN else rows
    some = f', the {SHOWN} lowest of {len(rows):,}' if len(rows) > SHOWN else ''
    heads = ['class', f'{noun}s', *models, *(['difference'] if len(models) == 2 else [])]
    cells = []
    for row in worst:
        values = [f'{row[name]:.2f}' for name in models]
        difference = [f'{row["motivated"] - row["base"]:+.2f}'] if len(models) == 2 else []
        cells.append([_cell(row['class']), f'{row["images"]:,}', *values, *difference])
    sections = [f'## Single classes ({extra["class_score"]}{some})', markdown_table(heads, cells)]
    for model, confusions in extra.get('confusions', {}).items():
        if confusions:
            cells = [[_cell(row['true']), _cell(row['predicted']), f'{row["count"]:,}'] for row in confusions]
            sections += [
                f'## Most frequent confusions of the {model} model',
                markdown_table(['true', 'predicted', f'{noun}s'], cells, left=2),
            ]
    return '\n\n'.join(sections) + '\n'


def _cell(name: str) -> str:
    return one_line(name, 60).replace('|', '\\|')
