"""The data of a run against its models, before the first batch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import BaseLoop, Runner
from mmengine.runner.runner import _SlicedDataset
from torch import Tensor
from torch.utils.data import DataLoader

from motivation.config.build import located
from motivation.config.metric_names import check_no_metrics, foresee_metrics
from motivation.datasets import check_labels, class_names, first_batch
from motivation.datasets.image_dataset import class_difference
from motivation.engine.batch_checks import (
    check_training_batches,
    failure,
    has_single_samples,
    preserved_buffers,
    single_sample_error,
)
from motivation.errors import ConfigError, reason
from motivation.models import ImagePreprocessor
from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.batches import noun_of, sample_text
from motivation.utils.example import noun_of_model
from motivation.utils.random_state import preserved_random_state
from motivation.utils.training_mode import evaluation_mode

# Samples of each dataset that --check reads.
LOOKED_OVER = 64

# How far values may lie beside the scale 0 to 1, the share of an image's that may lie further, and the share of the
# images that may have more: erased regions and noise that are not clipped are of some images.
_LEEWAY, _OUTSIDE, _OFF = 0.25, 0.005, 0.9

# A value that no normalisation gives, and the scale 0 to 255 does.
_FAR = 16.0


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
    _check_lengths(runner, stage, loop)
    _check_classes(runner, stage, loop)
    with preserved_random_state(), preserved_buffers(runner.model), evaluation_mode(runner.model), torch.no_grad():
        noun = noun_of_model(runner.model.base)
        with located(f'{field}.dataset', runner.cfg[field].dataset, f'gives no {noun}'):
            batch = first_batch(dataset, collate_fn=loop.dataloader.collate_fn)
        check_scale(runner, batch, stage)
        _try(runner, batch, field, loop.dataloader)
        if stage == 'train':
            check_training_batches(runner, loop.dataloader)
        _check_metrics(runner, stage, loop, batch)
    return loop


def _check_lengths(runner: Runner, stage: str, loop: BaseLoop) -> None:
    """Refuse a dataset that is too small for its data loader or for the re-estimation of statistics."""
    field, loader, noun = f'{stage}_dataloader', loop.dataloader, noun_of_model(runner.model.base)
    dataset, batch_size = loader.dataset, loader.batch_size
    # MMEngine cuts it down to num_batch_per_epoch, without asking whether it is long enough.
    total = len(dataset._dataset if isinstance(dataset, _SlicedDataset) else dataset)
    if len(dataset) > total:
        raise ConfigError(
            f'{field}.num_batch_per_epoch is {runner.cfg[field].num_batch_per_epoch}, for which its dataset with '
            f'{total:,} {noun}s is too small; lower it, or leave it out for all of them'
        )
    if stage == 'train' and (batch_size or 0) > total:
        raise ConfigError(
            f'{field}.batch_size is {batch_size}, and its dataset has {total:,} {noun}s; give at most that'
        )
    if len(loader) == 0:
        raise ConfigError(
            f'{field}.batch_size is {batch_size}, of which its {len(dataset):,} {noun}s fill none; lower it, or leave out '
            'drop_last and num_batch_per_epoch'
        )
    if stage == 'train' and runner.model.recalibrate > len(dataset):
        raise ConfigError(
            f'model.recalibrate is {runner.model.recalibrate:,}, and an epoch of {field} has {len(dataset):,} {noun}s; '
            'give at most that'
        )


def look_over(runner: Runner, stage: str, dataloader: DataLoader) -> None:
    """Read, transform and collate samples from all over a dataset, and say so.

    Args:
        runner: The runner, with its models.
        stage: ``'train'``, ``'val'`` or ``'test'``.
        dataloader: The data loader.

    Raises:
        ConfigError: A sample cannot be used, or has another shape than the others.
    """
    dataset = dataloader.dataset
    total = len(dataset)  # type: ignore[arg-type]
    indices = [number * total // min(LOOKED_OVER, total) for number in range(min(LOOKED_OVER, total))]
    with preserved_random_state():
        samples = [dataset[index] for index in indices]
        batch = dataloader.collate_fn(samples)
    labels, classes, noun = batch.get('targets'), class_names(dataset), noun_of(batch)
    if classes and isinstance(labels, Tensor) and labels.ndim == 1 and len(labels) == len(indices):
        check_labels(labels.tolist(), len(classes), lambda place: f'{noun} {indices[place]}')
    check_scale(runner, batch, stage)
    skipped = len(getattr(batch, 'skipped', ()))
    runner.announce(
        f'{len(indices):,} of {total:,} {noun}s of {stage}_dataloader read and transformed'
        + (f', of which {skipped} are left out' if skipped else '')
    )


def check_scale(runner: Runner, batch: Any, stage: str) -> None:
    """Refuse images that are not on the scale that a model's normalisation takes them to have.

    Images are uint8 on the scale 0 to 255 or float on the scale 0 to 1, which sharpening or noise may leave
    a little, and augmentation in some images far. A model of mean 0 and deviation 1 does not normalise, and
    takes floats of any scale. A model without our :class:`~motivation.models.ImagePreprocessor` takes whole
    numbers of any type.

    Args:
        runner: The runner, with its models.
        batch: A batch of its data.
        stage: ``'train'``, ``'val'`` or ``'test'``.

    Raises:
        ConfigError: They are normalised already, on the scale 0 to 255, or of another integer type.
    """
    inputs = batch.get('inputs') if isinstance(batch, Mapping) else None
    if not isinstance(inputs, Tensor) or inputs.dtype == torch.uint8 or inputs.ndim < 2 or not inputs.numel():
        return
    source = f'{stage}_dataloader.dataset gives images'
    preprocessors = [getattr(runner.model, name).data_preprocessor for name in MODEL_NAMES]
    if not inputs.is_floating_point():
        if not any(isinstance(preprocessor, ImagePreprocessor) for preprocessor in preprocessors):
            return
        raise ConfigError(f'{source} of {inputs.dtype}; give uint8 on the scale 0 to 255, or float on the scale 0 to 1')
    outside = ((inputs < -_LEEWAY) | (inputs > 1 + _LEEWAY)).flatten(1).double().mean(dim=1)
    off = (outside > _OUTSIDE).double().mean() > _OFF and (len(inputs) > 1 or stage != 'train')
    low, high = inputs.min().item(), inputs.max().item()
    if not off and high <= _FAR:
        return
    for name in MODEL_NAMES:
        if _normalises(getattr(runner.model, name)):
            way_out = (
                "scale them to 0 to 1, as dict(type='ToDtype', dtype='float32', scale=True) does, or leave them uint8"
                if high > _FAR
                else f'take out of {stage}_dataloader.dataset.transforms what leaves that scale (Normalize, or noise that is '
                'not clipped)'
            )
            raise ConfigError(
                f'{source} of {low:.3g} to {high:.3g}, which model.{name} normalises as if they were on the scale 0 to 1; '
                f'{way_out}, or give both models mean=[0.0], std=[1.0]'
            )


def _normalises(model: Any) -> bool:
    mean, std = (getattr(getattr(model, 'data_preprocessor', None), name, None) for name in ('mean', 'std'))
    if not isinstance(mean, Tensor) or not isinstance(std, Tensor):
        return False  # a model of the user's own, which may do what it likes
    return bool((mean != 0).any() or (std != 1).any())


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
                if has_single_samples(loader):
                    noun = noun_of(batch)
                    raise single_sample_error(field, loader, noun, f'model.{name} does not take', error) from error
                continue
            raise _does_not_take(name, field, batch, error) from error


def _does_not_take(name: ModelName, field: str, batch: Any, error: Exception) -> ConfigError:
    """Return the sentence about samples that a model cannot be run on."""
    if noun_of(batch) == 'image':
        shape, advice = tuple(batch['inputs'].shape[1:]), 'make their channels and size agree'
        return ConfigError(
            f'model.{name} does not take the images of {field}.dataset, {shape}: {reason(error)}; {advice}'
        )
    return ConfigError(
        f'model.{name} does not take the {sample_text(batch)} of {field}.dataset: {reason(error)}; make the model and '
        'the samples agree'
    )


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
    if not stages:  # weights alone, without data
        return
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
    difference = class_difference(classes, others)
    if difference is not None:
        index, ours, theirs = difference
        raise ConfigError(f'class {index} is {ours} in {place} and {theirs} in {other}; {advice}')
