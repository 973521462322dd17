"""Losses of classifiers with one label an image, and what a loss is.

A loss is a module registered in :data:`~motivation.registry.LOSSES`, called with logits (N, K) and targets, which returns
a scalar, the mean over images. It may have

- ``num_classes`` and ``label_smoothing`` among its arguments, which are the model's;
- ``several_labels``: whether targets are several labels an image, (N, K) of 0 and 1; by default they are class indices
  (N,), or class probabilities (N, K) after mixup;
- ``of_each(logits, targets)``: the loss of each image, (N,);
- ``divergence(logits, target_logits, temperature)``: the scalar to minimise when the model learns from another's logits;
  by default that of softmax outputs.

Legend: N images, K classes.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from annotated_types import Ge, Lt
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from torch import Tensor, nn
from torch.nn import functional as F

from motivation.errors import ArgumentError
from motivation.models.class_weights import (
    ClassWeights,
    GivenWeights,
    PositiveWeights,
    balanced,
    negatives_over_positives,
)
from motivation.models.divergences import independent_divergence, soft_target_divergence
from motivation.registry import LOSSES, look_up
from motivation.utils.arguments import Count, arguments_of, checked

Smoothing = Annotated[float, Ge(0), Lt(1)]


@LOSSES.register_module()
class CrossEntropyLoss(nn.Module):
    """Cross-entropy of softmax probabilities, for one label an image; the default.

    With class weights it is the sum of the weighted losses over N, as in mmpretrain; torch divides by the sum of the
    weights instead, so that micro-batches and processes would not add up to the batch.

    Args:
        class_weights: The weight of each class, at least 0; ``'auto'``: N / (K n_c) of the training data, see
            :func:`~motivation.models.class_weights.balanced`; ``None`` (default): all alike.
        num_classes: K; the model's.
        label_smoothing: Label smoothing of class indices (Szegedy et al., arXiv 1512.00567, section 7); the model's.

    Raises:
        ArgumentError: There are not K weights, or all are 0.

    Example:
        >>> loss = dict(type='CrossEntropyLoss', class_weights='auto')
    """

    several_labels = False
    divergence = staticmethod(soft_target_divergence)

    @checked
    def __init__(
        self, num_classes: Count, class_weights: GivenWeights = None, label_smoothing: Smoothing = 0.0
    ) -> None:
        super().__init__()
        self.weights = ClassWeights('class_weights', class_weights, num_classes, balanced)
        self.label_smoothing = label_smoothing
        self._smoothed = LabelSmoothingCrossEntropy(label_smoothing)
        self._soft = SoftTargetCrossEntropy()

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of logits (N, K) and class indices (N,) or probabilities (N, K)."""
        if self.weights() is not None:
            return self.of_each(logits, targets).mean()
        if targets.ndim > 1:
            return self._soft(logits, targets)
        return self._smoothed(logits, targets) if self.label_smoothing else F.cross_entropy(logits, targets)

    def of_each(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each image, (N,)."""
        smoothing = self.label_smoothing if targets.ndim == 1 else 0.0  # mixup has smoothed the targets
        if smoothing and self.weights() is None:  # the digits of forward
            return torch.func.vmap(lambda one, target: self._smoothed(one[None], target[None]))(logits, targets)
        return F.cross_entropy(logits, targets, self.weights(), reduction='none', label_smoothing=smoothing)


@LOSSES.register_module()
class BinaryCrossEntropyLoss(nn.Module):
    """Binary cross-entropy of each class, for one label an image, as timm's ``BinaryCrossEntropy``.

    Wightman et al., "ResNet strikes back" (arXiv 2110.00476), trained with it. The model still answers with one class.

    Args:
        target_threshold: Targets above it, after smoothing and mixup, are 1, others 0; ``None`` (default) keeps them.
        sum_classes: Whether the losses of an image's classes are summed; ``False`` (default) averages them.
        pos_weight: The factor of the positive term, one for all or one for each class; ``'auto'``: negatives over
            positives of the training data; ``None`` (default): 1.
        num_classes: K; the model's.
        label_smoothing: s: targets are s / K and 1 - s + s / K; the model's.

    Raises:
        ArgumentError: There are not K weights.

    Example:
        >>> loss = dict(type='BinaryCrossEntropyLoss', target_threshold=0.2)
    """

    several_labels = False

    @checked
    def __init__(
        self,
        num_classes: Count,
        target_threshold: Annotated[float, Ge(0), Lt(1)] | None = None,
        sum_classes: bool = False,
        pos_weight: PositiveWeights = None,
        label_smoothing: Smoothing = 0.0,
    ) -> None:
        super().__init__()
        self.pos_weight = ClassWeights('pos_weight', pos_weight, num_classes, negatives_over_positives)
        self.target_threshold = target_threshold
        self.sum_classes = sum_classes
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of logits (N, K) and class indices (N,) or probabilities (N, K)."""
        return self.of_each(logits, targets).mean()

    def of_each(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each image, (N,)."""
        if targets.ndim == 1:
            classes = logits.shape[1]
            low = self.label_smoothing / classes
            targets = low + (1 - self.label_smoothing) * F.one_hot(targets, classes)
        targets = targets.to(logits.dtype)
        if self.target_threshold is not None:
            targets = (targets > self.target_threshold).to(logits.dtype)
        losses = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=self.pos_weight(), reduction='none')
        return losses.sum(dim=1) if self.sum_classes else losses.mean(dim=1)

    def divergence(self, logits: Tensor, target_logits: Tensor, temperature: float) -> Tensor:
        """Return :func:`~motivation.models.divergences.independent_divergence`, reduced over classes as the loss."""
        return independent_divergence(logits, target_logits, temperature, self.sum_classes)


# Arguments of a loss that are the model's.
_OF_MODEL = ('num_classes', 'label_smoothing')


def build_loss(config: Mapping[str, Any] | None, num_classes: int, label_smoothing: float) -> nn.Module:
    """Build the loss of a model.

    Args:
        config: Its config; ``None`` for :class:`CrossEntropyLoss`.
        num_classes: K.
        label_smoothing: Label smoothing.

    Raises:
        ArgumentError: It has an argument that is the model's, or takes no label smoothing.
        BuildError: It cannot be built.
    """
    config = {'type': 'CrossEntropyLoss', **(config or {})}
    for name in _OF_MODEL:
        if name in config:
            raise ArgumentError(f'loss.{name}', f"is the model's; write {name}={config[name]!r} beside loss")
    component = look_up(LOSSES, config['type'])
    known, takes_any = arguments_of(component) if callable(component) else ({}, True)
    given = {'num_classes': num_classes, 'label_smoothing': label_smoothing}
    given = {name: value for name, value in given.items() if takes_any or name in known}
    if label_smoothing and 'label_smoothing' not in given:
        raise ArgumentError(
            'label_smoothing', f'is {label_smoothing}, which the loss {config["type"]} does not take; leave it out'
        )
    return LOSSES.build(config, default_args=given)


def takes_several_labels(loss: Any) -> bool:
    """Return whether the targets of a loss are several labels an image."""
    return bool(getattr(loss, 'several_labels', False))
