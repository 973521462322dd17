"""Top-k accuracy."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from motivation.errors import ArgumentError, ConfigError
from motivation.registry import METRICS
from motivation.utils.arguments import Count, checked


@METRICS.register_module()
class Accuracy(BaseMetric):
    """Top-k accuracy: the percentage of images whose class is among the k highest logits.

    Args:
        topk: The values of k to report, as ``accuracy/top<k>``; (1, 5) by default. A k of at least the number
            of classes gives 100; one of them must be lower.
        **kwargs: Further arguments of :class:`mmengine.evaluator.BaseMetric`.

    Raises:
        ConfigError: ``topk`` is empty or contains a value below 1 or only such that give 100, or images have several labels.

    Example:
        >>> val_evaluator = dict(type='Accuracy', topk=(1, 5))
    """

    default_prefix = 'accuracy'

    @checked
    def __init__(self, topk: Sequence[Count] = (1, 5), **kwargs: Any) -> None:
        super().__init__(**{'collect_device': 'gpu', **kwargs})  # gathers by collectives, not files; works on a CPU too
        self.topk = tuple(topk)
        if not self.topk:
            raise ArgumentError('topk', f'must name at least one k, got {topk!r}')

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, torch.Tensor]]) -> None:
        """Add the predictions of a batch.

        Args:
            data_batch: Not used.
            data_samples: ``'logits'``, (K,), and ``'target'``, a class index, of each image.
        """
        logits = torch.stack([sample['logits'] for sample in data_samples])
        targets = torch.stack([sample['target'] for sample in data_samples])
        if targets.ndim == 2:
            raise ConfigError(
                'Accuracy is of one class an image, and the data have several labels an image; write '
                "dict(type='TorchMetric', metric='AveragePrecision') or metric='F1Score' instead"
            )
        if 1 < logits.shape[1] <= min(self.topk):
            raise ArgumentError(
                'topk',
                f'is {self.topk}, with which every image is right, as there are {logits.shape[1]} classes; give a lower k',
            )
        ranked = logits.topk(min(max(self.topk), logits.shape[1]), dim=1).indices
        hits = ranked == targets[:, None]
        # One row for each image, one column for each k.
        self.results += torch.stack([hits[:, :k].any(dim=1) for k in self.topk], dim=1).tolist()

    def compute_metrics(self, results: list[list[bool]]) -> dict[str, float]:
        """Return the accuracy over all images in percent, as ``top<k>``."""
        return {
            f'top{k}': 100 * sum(column) / len(column)
            for k, column in zip(self.topk, zip(*results, strict=True), strict=True)
        }
