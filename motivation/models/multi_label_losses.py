"""Losses of classifiers with several labels an image.

See :mod:`motivation.models.losses`. Legend: N images, K classes; targets are (N, K), of 0 and 1 or mixtures of these.
"""

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from motivation.models.class_weights import ClassWeights, PositiveWeights, negatives_over_positives
from motivation.models.divergences import independent_divergence
from motivation.models.losses import Smoothing
from motivation.registry import LOSSES
from motivation.utils.arguments import Count, Share, checked

Focus = Annotated[float, Ge(0)]


@LOSSES.register_module()
class MultiLabelLoss(nn.Module):
    """Binary cross-entropy of each class, for several labels an image: the mean over images and classes.

    Args:
        pos_weight: The factor of the positive term, one for all or one for each class; ``'auto'``: negatives over
            positives of the training data; ``None`` (default): 1.
        num_classes: K; the model's.
        label_smoothing: s: targets t are (1 - s) t + s / 2, as in Keras and timm; the model's.

    Raises:
        ArgumentError: There are not K weights.

    Example:
        >>> loss = dict(type='MultiLabelLoss', pos_weight='auto')
    """

    several_labels = True
    divergence = staticmethod(independent_divergence)

    @checked
    def __init__(
        self, num_classes: Count, pos_weight: PositiveWeights = None, label_smoothing: Smoothing = 0.0
    ) -> None:
        super().__init__()
        self.pos_weight = ClassWeights('pos_weight', pos_weight, num_classes, negatives_over_positives)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of logits (N, K) and targets (N, K)."""
        return self.of_each(logits, targets).mean()

    def of_each(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each image, (N,)."""
        targets = _towards_half(targets, self.label_smoothing)
        losses = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=self.pos_weight(), reduction='none')
        return losses.mean(dim=1)


@LOSSES.register_module()
class FocalLoss(nn.Module):
    """Focal loss of each class, for several labels an image: the mean over images and classes.

    Lin et al., arXiv 1708.02002, equation 5: -a (1 - p)^gamma log p for a label, -(1 - a) p^gamma log(1 - p) for none. With
    ``gamma=0, alpha=None`` it is :class:`MultiLabelLoss`.

    Args:
        gamma: The focus on classes that the model gets wrong, at least 0. Default: 2.
        alpha: a, the weight of labels, 0 to 1. Default: 0.25; ``None``: 1 for both terms.
        num_classes: K; the model's.
        label_smoothing: As in :class:`MultiLabelLoss`; the model's.

    Example:
        >>> loss = dict(type='FocalLoss', gamma=2.0)
    """

    several_labels = True
    divergence = staticmethod(independent_divergence)

    @checked
    def __init__(
        self, num_classes: Count, gamma: Focus = 2.0, alpha: Share | None = 0.25, label_smoothing: Smoothing = 0.0
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.alpha = alpha
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of logits (N, K) and targets (N, K)."""
        return self.of_each(logits, targets).mean()

    def of_each(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each image, (N,)."""
        targets = _towards_half(targets, self.label_smoothing)
        alpha = -1.0 if self.alpha is None else self.alpha  # torchvision's word for none
        return sigmoid_focal_loss(logits, targets, alpha, self.gamma, reduction='none').mean(dim=1)


@LOSSES.register_module()
class AsymmetricLoss(nn.Module):
    """Asymmetric loss of several labels an image: the sum over classes, the mean over images.

    Ridnik et al., arXiv 2009.14119, equation 7: a focal loss with a focus of its own for labels and for their absence, in
    which absent labels with a probability below ``clip`` count nothing.

    Args:
        gamma_neg: The focus on absent labels, at least 0. Default: 4.
        gamma_pos: The focus on labels, at least 0. Default: 1.
        clip: What is taken off the probability of an absent label, 0 to 1. Default: 0.05.
        num_classes: K; the model's.
        label_smoothing: As in :class:`MultiLabelLoss`; the model's.

    Example:
        >>> loss = dict(type='AsymmetricLoss', gamma_neg=4.0, gamma_pos=0.0)
    """

    several_labels = True

    @checked
    def __init__(
        self,
        num_classes: Count,
        gamma_neg: Focus = 4.0,
        gamma_pos: Focus = 1.0,
        clip: Annotated[float, Ge(0), Le(1)] = 0.05,
        label_smoothing: Smoothing = 0.0,
    ) -> None:
        super().__init__()
        self.gamma_neg = gamma_neg
        self.gamma_pos = gamma_pos
        self.clip = clip
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of logits (N, K) and targets (N, K)."""
        return self.of_each(logits, targets).mean()

    def of_each(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each image, (N,)."""
        targets = _towards_half(targets, self.label_smoothing)
        present, absent = logits.sigmoid(), ((-logits).sigmoid() + self.clip).clamp(max=1)
        # Logarithms of what is at least the smallest normal number: a gradient of 0 and not NaN at the end of the scale.
        smallest = torch.finfo(logits.dtype).tiny
        right = targets * present + (1 - targets) * absent
        focus = self.gamma_pos * targets + self.gamma_neg * (1 - targets)
        log_right = targets * F.logsigmoid(logits) + (1 - targets) * absent.clamp(min=smallest).log()
        return -((1 - right).clamp(min=smallest) ** focus * log_right).sum(dim=1)

    def divergence(self, logits: Tensor, target_logits: Tensor, temperature: float) -> Tensor:
        """Return :func:`~motivation.models.divergences.independent_divergence`, summed over classes as the loss."""
        return independent_divergence(logits, target_logits, temperature, sums_classes=True)


def _towards_half(targets: Tensor, smoothing: float) -> Tensor:
    return targets * (1 - smoothing) + smoothing / 2 if smoothing else targets
