"""Checking before training for batches of a single sample, on which some networks cannot be trained.

A normalisation layer that sees one value per channel, as on maps of one pixel, has no variance.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import BatchSampler, DataLoader

from motivation.datasets import first_batch
from motivation.engine.optim.step import left_out
from motivation.errors import ConfigError, reason
from motivation.structures import MODEL_NAMES
from motivation.utils.batches import samples_in
from motivation.utils.distributed import sum_over_processes
from motivation.utils.example import noun_of_model
from motivation.utils.training_mode import training_mode


def has_single_samples(loader: DataLoader) -> bool:
    """Return whether this process has a batch of one sample; always ``False`` for a user-defined batch sampler."""
    if type(loader.batch_sampler) is not BatchSampler:
        return False
    left = len(loader.sampler) % (loader.batch_size or 1)  # type: ignore[arg-type]
    return loader.batch_size == 1 or (left == 1 and not loader.drop_last)


def check_micro_batches(runner: Runner, loader: DataLoader) -> None:
    """Check that a full batch can be split into as many micro-batches as the optimizer wrappers ask for.

    Raises:
        ConfigError: Some would have less than two samples.
    """
    size = loader.batch_size
    for name in MODEL_NAMES:
        parts = getattr(runner.optim_wrapper[name], 'accumulate', 1)
        if size is not None and parts > max(size // 2, 1):
            raise ConfigError(
                f'optim_wrapper.accumulate is {parts} for the {name} model, and train_dataloader.batch_size is {size}; a '
                f'micro-batch has at least two samples: give at most {max(size // 2, 1)}'
            )


def check_training_batches(runner: Runner, loader: DataLoader) -> None:
    """Check that both models can be trained on a single sample, if a batch has only one.

    All processes must call it, and all get the same result. The caller preserves buffers and random states.

    Args:
        runner: The run.
        loader: The training data loader.

    Raises:
        ConfigError: A model cannot be trained on a single sample; names the field, the model and the fix.
    """
    alone = sum_over_processes(int(has_single_samples(loader))) > 0
    if not alone and runner.model.recalibrate != 1:
        return
    noun = noun_of_model(runner.model.base)
    for name in MODEL_NAMES:
        model = getattr(runner.model, name)
        with training_mode(model):
            error = failure(model, loader, 1)
            fails = error is not None and failure(model, loader, 2) is None
        if error is not None and fails and alone:
            raise single_sample_error('train_dataloader', loader, noun, f'model.{name} cannot be trained on', error)
        if error is not None and fails:
            raise ConfigError(
                f'model.recalibrate is 1, and a single {noun} gives model.{name} no statistics ({reason(error)}); give at '
                'least 2'
            )


def failure(model: BaseModel, loader: DataLoader, count: int) -> Exception | None:
    """Return the exception that a model raises on a batch, or ``None``.

    Args:
        model: The model. In training mode its loss is computed, in evaluation mode its predictions.
        loader: Data loader whose first sample makes up the batch.
        count: Number of copies of the sample in the batch.
    """

    def collate(samples: list[Any]) -> Any:
        return loader.collate_fn(samples * count)

    try:
        batch = first_batch(loader.dataset, collate_fn=collate)
        with torch.no_grad():
            data = model.data_preprocessor(batch, model.training)
            model._run_forward(data, mode='loss' if model.training else 'predict')
    except Exception as error:  # a network may raise any exception
        return error
    return None


def single_sample_error(field: str, loader: DataLoader, noun: str, what: str, error: Exception) -> ConfigError:
    """Return the error about a batch of a single sample.

    Args:
        field: Field of the data loader.
        loader: The data loader.
        noun: Name of a sample, such as ``'image'``.
        what: Model and verb, such as ``'model.base cannot be trained on'``.
        error: The exception of the model.
    """
    total, size = len(loader.sampler), loader.batch_size or 0  # type: ignore[arg-type]
    rest = (
        f'one of {total:,} {noun}s for the last batch'
        if has_single_samples(loader)
        else f'one {noun} for another process'
    )
    problem = f'which leaves {rest}' if size > 1 else f'a single {noun}'
    counts = [total] if get_world_size() == 1 else [total - 1, total, total + 1]  # processes may differ by one
    sizes = (size + step for distance in range(1, 17) for step in (distance, -distance))
    other = next((n for n in sizes if 1 < n < total and all(count % n != 1 for count in counts)), None)
    ways = [f'{field}.drop_last=True'] if 1 < size <= total else []
    ways += [f'another batch_size, such as {other}'] if other else []
    return ConfigError(
        f'{field}.batch_size is {size}, {problem}, and {what} a single {noun} ({reason(error)}); give '
        f'{" or ".join(ways) or f"more {noun}s"}'
    )


def left_alone(batch: Any, error: Exception) -> ConfigError | None:
    """Return the error about a batch of which ``on_error='skip'`` has left one image, or ``None`` for other batches.

    Args:
        batch: The batch.
        error: The exception that the model raised on it.
    """
    skipped = left_out(batch)
    if not skipped or isinstance(error, ConfigError) or samples_in(batch) != 1:
        return None
    return ConfigError(
        f"train_dataloader.dataset.on_error is 'skip', which leaves one image of a batch of {len(skipped) + 1} "
        f'({" ".join(skipped[0])}), on which the model cannot be trained ({reason(error)}); fix or remove such images, or '
        'give a larger batch_size'
    )


@contextmanager
def preserved_buffers(model: nn.Module) -> Iterator[None]:
    """Restore the buffers of a model at the end, because norms kept in training mode update theirs in every pass."""
    before = [buffer.clone() for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(model.buffers(), before, strict=True):
                buffer.copy_(value)
