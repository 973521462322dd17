"""Classes of the evaluation data without images."""

import logging
from typing import Any

from mmengine.logging import print_log

from motivation.datasets import class_names
from motivation.datasets.image_files import shortlist
from motivation.datasets.targets import labels_of
from motivation.errors import ConfigError
from motivation.evaluation.absent_classes import are_labelled


def warn_of_absent_classes(loop: Any, stage: str) -> None:
    """Warn of classes that no image has, if a metric is averaged over classes.

    Nothing is said of data whose labels are known only as they are read, or whose classes have no names.

    Args:
        loop: The loop, with its data loader and evaluators.
        stage: ``'val'`` or ``'test'``.
    """
    evaluator = next(iter(loop.evaluators.values()))
    names, dataset = class_names(loop.dataloader.dataset), loop.dataloader.dataset
    if not names or not any(getattr(metric, 'averages_classes', False) for metric in evaluator.metrics):
        return
    try:
        having, _ = are_labelled(labels_of(dataset), len(names))
    except ConfigError:
        return
    absent = [names[place] for place in (having == 0).nonzero().flatten().tolist()]
    if absent:
        print_log(
            f'{len(absent):,} of {len(names):,} classes have no image in {stage}_dataloader.dataset ({shortlist(absent)}), and '
            'averages over classes leave them out or count them as 0 (docs/metrics.md); give images of each',
            'current',
            logging.WARNING,
        )
