"""Cross-entropy."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from torch.nn import functional as F

from motivation.registry import METRICS


@METRICS.register_module()
class CrossEntropy(BaseMetric):
    """Mean cross-entropy of the predicted classes in nats, ``loss/cross_entropy``; lower is better.

    Of images with several labels it is the mean over images and classes of the binary cross-entropy of each class.

    Unlike accuracy it says how sure a model is where it is right, and where it is wrong. Label smoothing and mixup of
    training are not part of it.

    Args:
        **kwargs: Arguments of :class:`mmengine.evaluator.BaseMetric`.

    Example:
        >>> val_evaluator = [dict(type='Accuracy', topk=(1, 5)), dict(type='CrossEntropy')]
    """

    default_prefix = 'loss'

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{'collect_device': 'gpu', **kwargs})  # gathers by collectives, not files; works on a CPU too

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, torch.Tensor]]) -> None:
        """Add the predictions of a batch.

        Args:
            data_batch: Not used.
            data_samples: ``'logits'``, (K,), and ``'target'``, a class index or (K,) of 0 and 1, of each image.
        """
        logits = torch.stack([sample['logits'] for sample in data_samples]).float()
        targets = torch.stack([sample['target'] for sample in data_samples])
        if targets.ndim == 2:
            of_classes = F.binary_cross_entropy_with_logits(logits, targets.float(), reduction='none')
            self.results += of_classes.mean(dim=1).tolist()
        else:
            self.results += F.cross_entropy(logits, targets, reduction='none').tolist()

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        """Return the mean over all images."""
        return {'cross_entropy': sum(results) / len(results)}
