"""Classes without images, which some metrics are not defined for."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

# Metrics of how the probabilities of a class rank its images: of these, a class without images has no value, and in the
# second line one of all images has none either. (EER averages curves, not values.)
_OF_IMAGES = {'AveragePrecision', 'PrecisionAtFixedRecall', 'RecallAtFixedPrecision'}
_OF_BOTH = {'AUROC', 'LogAUC', 'SensitivityAtSpecificity', 'SpecificityAtSensitivity'}

# Metrics of true among predicted or labelled images: a class that has neither has no value.
_OF_HITS = {'F1Score', 'FBetaScore', 'JaccardIndex', 'Precision', 'Recall'}


def are_labelled(targets: Tensor, classes: int, ignored: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the number of images that have each class, and of those that have it not, (K,) each.

    Args:
        targets: Class indices (N,), or 0 and 1, (N, K).
        classes: K.
        ignored: A target that does not count.
    """
    if targets.ndim == 2:
        counts = targets != ignored if ignored is not None else torch.ones_like(targets, dtype=torch.bool)
        return ((targets > 0) & counts).sum(dim=0), ((targets <= 0) & counts).sum(dim=0)
    targets = targets[(targets >= 0) & (targets < classes)]
    targets = targets if ignored is None else targets[targets != ignored]
    having = torch.bincount(targets, minlength=classes)
    return having, len(targets) - having


def have_value(metric: str, having: Tensor, lacking: Tensor) -> Tensor:
    """Return whether each class has a value, of its own, that is worth a row: bool (K,).

    Args:
        metric: Name of the metric in torchmetrics.
        having: Number of images that have the class, (K,).
        lacking: Number of those that have it not, (K,).
    """
    return (having > 0) & (lacking > 0) if metric in _OF_BOTH else having > 0


def are_averaged(
    metric: str, arguments: Mapping[str, Any], values: Tensor, having: Tensor, lacking: Tensor, several: bool
) -> Tensor | None:
    """Return the classes whose values an average is of, bool (K,), or ``None`` if torchmetrics decides well.

    Args:
        metric: Name of the metric in torchmetrics.
        arguments: Its arguments.
        values: Probabilities, (N, K), or predicted classes, (N,).
        having: Number of images that have each class, (K,).
        lacking: Number of those that have it not, (K,).
        several: Whether images have several labels.
    """
    if metric in _OF_IMAGES | _OF_BOTH:
        return have_value(metric, having, lacking)
    if several and metric in _OF_HITS and 'zero_division' not in arguments:
        return (having > 0) | (values > arguments.get('threshold', 0.5)).any(dim=0)
    return None  # with one class an image, it leaves out a class without images that none is taken for


def mean_of(values: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean of the values with a weight above 0; nan if there is none."""
    counts = weights > 0
    return (values[counts] * weights[counts]).sum() / weights[counts].sum()
