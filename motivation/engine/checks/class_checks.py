"""Checking before training that class indices mean the same in data, models and checkpoints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.runner import BaseLoop, Runner

from motivation.datasets import class_names
from motivation.datasets.class_list import CLASSES, class_difference
from motivation.errors import ConfigError
from motivation.structures import MODEL_NAMES


def check_classes(runner: Runner, stage: str, loop: BaseLoop) -> None:
    """Check that the data of a loop have the classes of the training data, and of the models and what they began with.

    Args:
        runner: The runner.
        stage: ``'train'``, ``'val'`` or ``'test'``.
        loop: The loop of that stage.

    Raises:
        ConfigError: They differ; names the first class that does.
    """
    classes = class_names(loop.dataloader.dataset)
    if classes is None:
        return
    if isinstance(runner._train_loop, BaseLoop):
        trained = class_names(runner.train_dataloader.dataset) or classes
        _compare_classes('train_dataloader.dataset', trained, f'{stage}_dataloader.dataset', classes)
    for name in MODEL_NAMES:
        taught = getattr(getattr(runner.model, name), 'teacher_classes', None)
        if taught is not None:
            advice = 'give a teacher of the same data'
            _compare_classes(f'model.{name}.teacher', taught, f'{stage}_dataloader.dataset', classes, advice)
        began = getattr(getattr(runner.model, name), 'source_classes', None)
        if began is not None:
            advice = f'write model.{name}.new_head=True to train a new head, or give the class folders of the weights'
            _compare_classes(
                f'the pretrained weights of model.{name}', began, f'{stage}_dataloader.dataset', classes, advice
            )
        expected = getattr(getattr(runner.model, name), 'num_classes', len(classes))
        if expected != len(classes):
            raise ConfigError(
                f'model.{name}.num_classes is {expected}, but {stage}_dataloader.dataset has {len(classes)} classes '
                f'({", ".join(classes[:10])}{", ..." if len(classes) > 10 else ""}); make them agree'
            )


def check_trained_classes(runner: Runner, checkpoint: dict[str, Any], path: Path) -> bool:
    """Check that the classes of a checkpoint are those of the current data.

    Nothing is checked if either has no class names, or if a run with ``load_from`` allows changes.

    Args:
        runner: The runner, with its data.
        checkpoint: The checkpoint, whose ``meta`` has the ``dataset_meta`` of its training data.
        path: Path of the checkpoint, for messages.

    Returns:
        Whether they differ, which is allowed.

    Raises:
        ConfigError: The classes differ; names the first that does.
    """
    stages = [stage for stage in ('train', 'val', 'test') if isinstance(getattr(runner, f'_{stage}_loop'), BaseLoop)]
    if not stages:  # no data to compare with
        return False
    is_new_run = not runner.resuming and stages[0] == 'train'
    trained = (checkpoint.get('meta', {}).get('dataset_meta') or {}).get('classes')
    classes = class_names(getattr(runner, f'{stages[0]}_dataloader').dataset)
    if trained is None or classes is None:
        return False
    if is_new_run and runner.cfg.get('allow_changes'):
        return bool(class_difference(trained, classes, '', ''))
    exception = (
        ', or keep its heads with --allow-changes, or begin with new ones: weights=..., new_head=True of a model'
        if is_new_run
        else ''
    )
    advice = f'give the class folders that it was trained with, or its list of names as dataset.classes{exception}'
    _compare_classes(f"checkpoint '{path}'", trained, f'{stages[0]}_dataloader.dataset', classes, advice)
    return False


def _compare_classes(
    place: str,
    classes: Sequence[Any],
    other: str,
    others: Sequence[Any],
    advice: str = f'both need one list of classes: the same folders, or the same dataset.classes, {CLASSES}',
) -> None:
    """Check that two lists of class names are equal."""
    difference = class_difference(classes, others, place, other)
    if difference:
        raise ConfigError(f'{difference}; {advice}')
