"""The labels and files of a whole dataset, read without its images."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset

from motivation.datasets.stream_images import stream_of
from motivation.errors import ConfigError

# Where torchvision's datasets and timm's readers keep class indices, and pairs that end with one.
_TARGETS, _PAIRS = ('targets', 'labels', '_labels'), ('samples', '_samples')

# Wrappers of one dataset: ours, SeededDataset and DeviceImages among them, an ImageDataset, and timm's ImageDataset.
_INNER = ('dataset', 'source', 'opened', 'reader')


def labels_of(dataset: Any) -> Tensor:
    """Return the label of every sample of a dataset, in order, without decoding images.

    Legend: N samples, K classes.

    Args:
        dataset: A dataset of ours, a wrapper or ``torch.utils.data.Subset`` of datasets, or one with ``targets``, a
            sequence of class indices or tensor (N, K).

    Returns:
        int64 (N,), class indices; or float32 (N, K) of 0 and 1 for several labels an image. Labels that are no class
        (they raise an error, or are skipped with ``on_error='skip'``, when their image is read) are as they were given;
        a sample without a label has -1.

    Raises:
        ConfigError: The labels are not known before the samples are read, as in a stream.
    """
    if stream_of(dataset) is not None:
        raise ConfigError(
            'the data set is a stream, whose labels are known only as they are read; unpack it into a folder or shards on the disk'
        )
    labels = _find(dataset)
    if labels is None or len(labels) != len(dataset):
        raise ConfigError(
            f'the labels of {type(dataset).__name__} are not known without reading its samples; give it an attribute targets, '
            'the class index of every sample'
        )
    return labels


def shared_files(dataset: Any, other: Any) -> list[str]:
    """Return the paths of the image files of a dataset that are in another as well, in the order of the other.

    Images that are no files, such as those of shards and hubs, are in none.

    Args:
        dataset: A dataset, or a wrapper of one or several.
        other: The other.
    """
    theirs = dict.fromkeys(_files(other))
    common = theirs.keys() & set(filter(theirs.__contains__, _files(dataset))) if theirs else ()
    return [path for path in theirs if path in common]


def _files(dataset: Any) -> Iterator[str]:
    own = vars(dataset) if hasattr(dataset, '__dict__') else {}
    files = getattr(dataset, 'files', None) if 'decode' in own or 'images' in own else None
    if isinstance(dataset, ConcatDataset):
        for part in dataset.datasets:
            yield from _files(part)
    elif files is not None:
        yield from files
    elif not isinstance(dataset, Subset):
        inner = next((own[name] for name in _INNER if own.get(name) is not None), None)
        if inner is not None:
            yield from _files(inner)


def _find(dataset: Any) -> Tensor | None:
    if isinstance(dataset, Subset):
        inner = _find(dataset.dataset)
        return None if inner is None else inner[torch.as_tensor(dataset.indices, dtype=torch.int64)]
    if isinstance(dataset, ConcatDataset):
        found = [_find(part) for part in dataset.datasets]
        parts = [part for part in found if part is not None]
        return torch.cat(parts) if len(parts) == len(found) else None
    own = vars(dataset) if hasattr(dataset, '__dict__') else {}  # SeededDataset offers those of its dataset as well
    for name in _TARGETS:
        if _is_column(own.get(name), dataset):
            return _as_tensor(own[name])
    for name in _PAIRS:
        if _is_column(own.get(name), dataset):
            return _as_tensor([pair[-1] for pair in own[name]])
    if isinstance(dataset, list):  # decoded images and their class indices
        return _as_tensor([pair[-1] for pair in dataset])
    if 'label_key' in own and not own.get('remap_class') and not own.get('target_keys'):  # timm's reader of the hub
        return _as_tensor(own['dataset'][own['label_key']])
    inner = next((own[name] for name in _INNER if own.get(name) is not None), None)
    labels = None if inner is None else _find(inner)
    if labels is not None and own.get('renumbering') is not None:
        there = torch.tensor(own['renumbering'])
        is_class = (labels >= 0) & (labels < len(there))
        labels = torch.where(is_class, there[labels.where(is_class, 0)], labels)
    return labels.repeat(own.get('times', 1), *[1] * (labels.ndim - 1)) if labels is not None else None


def _is_column(values: Any, dataset: Any) -> bool:
    return hasattr(values, '__len__') and len(values) == len(dataset)


def _as_tensor(labels: Sequence[Any] | Tensor) -> Tensor:
    """Return class indices as int64 (N,), or rows of 0 and 1 as float32 (N, K)."""
    if isinstance(labels, Tensor):
        return labels.to(torch.int64 if labels.ndim == 1 else torch.float32)
    if any(label is None for label in labels):
        labels = [-1 if label is None else label for label in labels]
    is_row = len(labels) > 0 and getattr(labels[0], 'ndim', 0) > 0
    tensor = torch.stack([torch.as_tensor(row) for row in labels]) if is_row else torch.as_tensor(labels)
    return tensor.to(torch.int64) if tensor.ndim == 1 else tensor.to(torch.float32)
