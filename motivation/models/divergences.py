"""How far the outputs of one model are from those of another, for distillation.

Legend: N images, K classes, T the temperature.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def soft_target_divergence(logits: Tensor, target_logits: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(softmax(target / T) || softmax(logits / T)), averaged over samples; logits (N, K)."""
    log_probabilities, log_targets = ((x / temperature).log_softmax(dim=1) for x in (logits, target_logits))
    return temperature**2 * F.kl_div(log_probabilities, log_targets, reduction='batchmean', log_target=True)


def independent_divergence(
    logits: Tensor, target_logits: Tensor, temperature: float, sums_classes: bool = False
) -> Tensor:
    """Return the KL divergence of classes that do not exclude each other, averaged over images.

    It is T^2 times that of two Bernoulli distributions, KL(sigmoid(target / T) || sigmoid(logits / T)), for each class, as
    in Yang et al., "Multi-Label Knowledge Distillation" (arXiv 2308.06453). Reduced over classes as the loss
    is, it is binary cross-entropy with soft targets, up to a constant.

    Args:
        logits: (N, K).
        target_logits: (N, K).
        temperature: T, above 0.
        sums_classes: Whether classes are summed; ``False`` (default) averages them.
    """
    x, target = logits / temperature, target_logits / temperature
    yes = target.sigmoid() * (F.logsigmoid(target) - F.logsigmoid(x))
    no = (-target).sigmoid() * (F.logsigmoid(-target) - F.logsigmoid(-x))
    of_each = yes + no
    return temperature**2 * torch.mean(of_each.sum(dim=1) if sums_classes else of_each.mean(dim=1))
