"""The data of a run against its models, before the first batch."""

import unicodedata
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import BaseLoop, Runner
from mmengine.runner.runner import _SlicedDataset
from torch.utils.data import DataLoader

from motivation.datasets import first_batch
from motivation.engine.batch_checks import (
    check_training_batches,
    failure,
    has_single_images,
    preserved_buffers,
    single_image_error,
)
from motivation.engine.build_errors import explained, reason
from motivation.engine.loops import class_names
from motivation.engine.metric_names import check_no_metrics, foresee_metrics
from motivation.errors import ConfigError
from motivation.models import MODEL_NAMES
from motivation.random_state import preserved_random_state
from motivation.training_mode import evaluation_mode


def check_data(runner: Runner, stage: str, loop: BaseLoop) -> BaseLoop:
    """Refuse data that does not fit the models, the data loader or the other data of a run.

    Args:
        runner: The runner, with its models.
        stage: ``'train'``, ``'val'`` or ``'test'``.
        loop: The loop with the data loader.

    Returns:
        The loop.

    Raises:
        ConfigError: Says what does not fit.
    """
    field, dataset = f'{stage}_dataloader', loop.dataloader.dataset
    # MMEngine cuts it down to num_batch_per_epoch, without asking whether it is long enough.
    images = len(dataset._dataset if isinstance(dataset, _SlicedDataset) else dataset)
    if len(dataset) > images:
        raise ConfigError(
            f'{field}.num_batch_per_epoch is {runner.cfg[field].num_batch_per_epoch}, for which its dataset with '
            f'{images:,} images is too small; lower it, or leave it out for all of them'
        )
    if stage == 'train' and (loop.dataloader.batch_size or 0) > images:
        raise ConfigError(
            f'{field}.batch_size is {loop.dataloader.batch_size}, and its dataset has {images:,} images; give at most that'
        )
    if len(loop.dataloader) == 0:
        raise ConfigError(
            f'{field}.batch_size is {loop.dataloader.batch_size}, of which its {len(dataset):,} images fill none; '
            'lower it, or leave out drop_last and num_batch_per_epoch'
        )
    if stage == 'train' and runner.model.recalibrate > len(dataset):
        raise ConfigError(
            f'model.recalibrate is {runner.model.recalibrate:,}, and an epoch of {field} has {len(dataset):,} images; give at most that'
        )
    _check_classes(runner, stage, loop)
    with preserved_random_state(), preserved_buffers(runner.model), evaluation_mode(runner.model), torch.no_grad():
        with explained(runner.cfg._cfg_dict.to_dict(), f'{field}.dataset', 'gives no image'):
            batch = first_batch(dataset, collate_fn=loop.dataloader.collate_fn)
        _try(runner, batch, field, loop.dataloader)
        if stage == 'train':
            check_training_batches(runner, loop.dataloader)
        _check_metrics(runner, stage, loop, batch)
    return loop


def _check_metrics(runner: Runner, stage: str, loop: BaseLoop, batch: Any) -> None:
    """Refuse names of metrics that the validation of this training will not report."""
    plain = runner.cfg._cfg_dict.to_dict()
    if stage == 'train' and runner._val_loop is None:
        check_no_metrics(plain)
    if stage == 'val' and isinstance(runner._train_loop, BaseLoop):
        foresee_metrics(plain, runner.model, loop, batch)


def _try(runner: Runner, batch: Any, field: str, loader: DataLoader) -> None:
    """Refuse data that a model cannot take."""
    for name in MODEL_NAMES:
        try:
            runner.model.val_step(batch, models=[name])
        except ConfigError:
            raise
        except Exception as error:  # a network raises whatever it likes
            if failure(getattr(runner.model, name), loader, 2) is None:  # which stays in training mode
                if has_single_images(loader):
                    raise single_image_error(field, loader, f'model.{name} does not take', error) from error
                continue
            shape = tuple(batch['inputs'].shape[1:])
            raise ConfigError(
                f'model.{name} does not take the images of {field}.dataset, {shape}: {reason(error)}; '
                'make their channels and size agree'
            ) from error


def _check_classes(runner: Runner, stage: str, loop: BaseLoop) -> None:
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
        expected = getattr(getattr(runner.model, name), 'num_classes', len(classes))
        if expected != len(classes):
            raise ConfigError(
                f'model.{name}.num_classes is {expected}, but {stage}_dataloader.dataset has {len(classes)} classes '
                f'({", ".join(classes[:10])}{", ..." if len(classes) > 10 else ""}); make them agree'
            )


def check_trained_classes(runner: Runner, checkpoint: dict[str, Any], path: Path) -> None:
    """Refuse a checkpoint whose class numbers mean something else than those of the data of now.

    Nothing is compared where either names no classes, or where a run that begins with the weights of
    another (``load_from``) is allowed to differ from it.

    Args:
        runner: With its data.
        checkpoint: What is loaded, whose ``meta`` has the ``dataset_meta`` of its training data.
        path: For the message.

    Raises:
        ConfigError: Names the first class that differs.
    """
    stages = [stage for stage in ('train', 'val', 'test') if isinstance(getattr(runner, f'_{stage}_loop'), BaseLoop)]
    begins = not runner.resuming and stages[0] == 'train'
    trained = (checkpoint.get('meta', {}).get('dataset_meta') or {}).get('classes')
    classes = class_names(getattr(runner, f'{stages[0]}_dataloader').dataset)
    if trained is None or classes is None or (begins and runner.cfg.get('allow_changes')):
        return
    on_purpose = ', or begin with its weights on other classes with --allow-changes' if begins else ''
    advice = f'give the class folders that it was trained with{on_purpose}'
    _compare_classes(f"checkpoint '{path}'", trained, f'{stages[0]}_dataloader.dataset', classes, advice)


def _compare_classes(
    place: str,
    classes: Sequence[Any],
    other: str,
    others: Sequence[Any],
    advice: str = 'both need the same class folders',
) -> None:
    """Refuse two lists of class names by which a number means two things; Unicode has several forms of one name."""
    for index, names in enumerate(zip_longest(classes, others)):
        ours, theirs = (None if name is None else unicodedata.normalize('NFC', str(name)) for name in names)
        if ours != theirs:
            said = ('absent' if name is None else repr(name) for name in (ours, theirs))
            raise ConfigError(f'class {index} is {next(said)} in {place} and {next(said)} in {other}; {advice}')
