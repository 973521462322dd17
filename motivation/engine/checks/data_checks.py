"""Checking before training that the data of a run fits its models."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, Runner
from torch import Tensor
from torch.utils.data import DataLoader

from motivation.config.build import located
from motivation.config.foreseen_metrics import foresee_metrics
from motivation.config.metric_names import check_no_metrics
from motivation.datasets import check_labels, class_names, first_batch, spread
from motivation.datasets.image_files import shortlist
from motivation.datasets.targets import shared_files
from motivation.engine.checks.absent_classes import warn_of_absent_classes
from motivation.engine.checks.batch_checks import (
    check_training_batches,
    failure,
    has_single_samples,
    preserved_buffers,
    single_sample_error,
)
from motivation.engine.checks.class_checks import check_classes
from motivation.engine.checks.evaluation_sampler import check_drawn_once
from motivation.engine.checks.image_sizes import check_image_sizes
from motivation.engine.checks.target_checks import CountedWeights, check_targets
from motivation.engine.optim.step import left_out
from motivation.errors import ConfigError, reason
from motivation.models import ImagePreprocessor
from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.batches import noun_of, sample_text
from motivation.utils.example import noun_of_model
from motivation.utils.random_state import preserved_random_state
from motivation.utils.training_mode import evaluation_mode

# Samples of each dataset that --check reads.
LOOKED_OVER = 64

# Tolerance beyond the range 0 to 1, the fraction of an image's values that may exceed it, and the fraction of images
# that may have more: unclipped noise and erased regions affect only some images.
_LEEWAY, _OUTSIDE, _OFF = 0.25, 0.005, 0.9

# Above any normalised value, and within the range 0 to 255.
_FAR = 16.0


def check_data(runner: Runner, stage: str, loop: BaseLoop) -> BaseLoop:
    """Check that the data of a loop fits the models, the data loader and the other data of a run.

    Args:
        runner: The runner, with its models.
        stage: ``'train'``, ``'val'`` or ``'test'``.
        loop: The loop with the data loader.

    Returns:
        The loop.

    Raises:
        ConfigError: The data does not fit; names the field and the fix.
    """
    field, dataset = f'{stage}_dataloader', loop.dataloader.dataset
    _check_lengths(runner, stage, loop)
    check_classes(runner, stage, loop)
    if stage == 'train':
        CountedWeights(runner).count(runner, dataset)
    else:
        check_drawn_once(loop.dataloader, field)
    with preserved_random_state(), preserved_buffers(runner.model), evaluation_mode(runner.model), torch.no_grad():
        noun = noun_of_model(runner.model.base)
        with located(f'{field}.dataset', runner.cfg[field].dataset, f'gives no {noun}'):
            batch = first_batch(dataset, collate_fn=loop.dataloader.collate_fn)
        check_scale(runner, batch, stage)
        check_targets(runner, stage, batch)
        _try(runner, batch, field, loop.dataloader)
        if stage == 'train':
            check_training_batches(runner, loop.dataloader)
            check_image_sizes(runner, loop.parts, loop.dataloader, loop.max_iters)
        elif isinstance(runner._train_loop, BaseLoop):
            _warn_of_shared_images(runner.train_dataloader.dataset, dataset, field)
        _check_metrics(runner, stage, loop)
    return loop


def _check_lengths(runner: Runner, stage: str, loop: BaseLoop) -> None:
    """Check that a dataset is large enough for its data loader and for the re-estimation of statistics."""
    field, loader, noun = f'{stage}_dataloader', loop.dataloader, noun_of_model(runner.model.base)
    dataset, batch_size = loader.dataset, loader.batch_size
    total = len(dataset)
    if stage == 'train' and (batch_size or 0) > total:
        raise ConfigError(
            f'{field}.batch_size is {batch_size}, and its dataset has {total:,} {noun}s; give at most that'
        )
    if len(loader) == 0:
        raise ConfigError(
            f'{field}.batch_size is {batch_size}, and its {total:,} {noun}s do not fill a batch; lower it, or leave '
            'out drop_last'
        )
    if stage == 'train' and runner.model.recalibrate > total:
        raise ConfigError(
            f'model.recalibrate is {runner.model.recalibrate:,}, and {field}.dataset has {total:,} {noun}s; give at most that'
        )


def look_over(runner: Runner, stage: str, dataloader: DataLoader) -> None:
    """Check samples spread evenly over a dataset, and announce the result.

    Args:
        runner: The runner, with its models.
        stage: ``'train'``, ``'val'`` or ``'test'``.
        dataloader: The data loader.

    Raises:
        ConfigError: A sample cannot be used, or differs in shape from the others.
    """
    dataset = dataloader.dataset
    total = len(dataset)  # type: ignore[arg-type]
    indices = spread(dataset, LOOKED_OVER)
    with preserved_random_state():
        samples = [dataset[index] for index in indices]
        batch = dataloader.collate_fn(samples)
    labels, classes, noun = batch.get('targets'), class_names(dataset), noun_of(batch)
    if classes and isinstance(labels, Tensor) and labels.ndim == 1 and len(labels) == len(indices):
        check_labels(labels.tolist(), len(classes), lambda place: f'{noun} {indices[place]}')
    check_scale(runner, batch, stage)
    skipped = len(left_out(batch))
    runner.announce(
        f'{len(indices):,} of {total:,} {noun}s of {stage}_dataloader read and transformed'
        + (f', of which {skipped} are left out' if skipped else '')
    )


def check_scale(runner: Runner, batch: Any, stage: str) -> None:
    """Check that images have the value range that a model's normalisation expects.

    Images must be uint8 from 0 to 255, or float from 0 to 1. Floats may exceed the range a little (sharpening, noise),
    and some images may exceed it by any amount (augmentation). Models with mean 0 and standard deviation 1 take floats
    of any range; models without an :class:`~motivation.models.ImagePreprocessor` take any integer dtype.

    Args:
        runner: The runner, with its models.
        batch: A batch of its data.
        stage: ``'train'``, ``'val'`` or ``'test'``.

    Raises:
        ConfigError: The images are already normalised, floats from 0 to 255, or of another integer dtype.
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
        return False  # a user-defined model
    return bool((mean != 0).any() or (std != 1).any())


def _check_metrics(runner: Runner, stage: str, loop: BaseLoop) -> None:
    """Check that the metrics suit the data, and that validation reports those that the config names."""
    plain = runner.cfg._cfg_dict.to_dict()
    if stage == 'train' and runner._val_loop is None:
        check_no_metrics(plain)
    if stage == 'test' or (stage == 'val' and isinstance(runner._train_loop, BaseLoop)):
        collate = loop.dataloader.collate_fn  # of a sample twice, because some networks refuse a single one
        batch = first_batch(loop.dataloader.dataset, collate_fn=lambda samples: collate(samples * 2))
        foresee_metrics(plain, runner.model, loop, batch, stage)
        warn_of_absent_classes(loop, stage)


def _try(runner: Runner, batch: Any, field: str, loader: DataLoader) -> None:
    """Check that both models accept a batch."""
    for name in MODEL_NAMES:
        try:
            runner.model.val_step(batch, models=[name])
        except ConfigError:
            raise
        except Exception as error:  # a network may raise any exception
            if failure(getattr(runner.model, name), loader, 2) is None:  # some norms stay in training mode
                if has_single_samples(loader):
                    noun = noun_of(batch)
                    raise single_sample_error(field, loader, noun, f'model.{name} does not take', error) from error
                continue
            raise _does_not_take(name, field, batch, error) from error


def _does_not_take(name: ModelName, field: str, batch: Any, error: Exception) -> ConfigError:
    """Return the error about samples that a model does not accept."""
    if noun_of(batch) == 'image':
        shape, advice = tuple(batch['inputs'].shape[1:]), 'make their channels and size agree'
        return ConfigError(
            f'model.{name} does not take the images of {field}.dataset, {shape}: {reason(error)}; {advice}'
        )
    return ConfigError(
        f'model.{name} does not take the {sample_text(batch)} of {field}.dataset: {reason(error)}; make the model and '
        'the samples agree'
    )


def _warn_of_shared_images(train: Any, dataset: Any, field: str) -> None:
    """Warn of image files that are in the training data as well."""
    shared = shared_files(train, dataset)
    if shared:
        print_log(
            f'{len(shared):,} of {len(dataset):,} images of {field}.dataset are in train_dataloader.dataset as well '
            f'({shortlist(shared)}), and scores on them say little about new images; take them out of one of the two',
            'current',
            logging.WARNING,
        )
