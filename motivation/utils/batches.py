"""Batches as a data loader returns them, of images, token sequences or several inputs.

A batch is a dict, possibly nested. The first dimension of its tensors is the sample. A list has one entry per sample
(from MMEngine's ``pseudo_collate``) or, if all entries are such tensors, the parts of all samples (from torch's
``default_collate`` of tuples).
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate, pairwise
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from motivation.errors import ConfigError

# The only input of a network, or its inputs by name.
Inputs = Tensor | Mapping[str, Any]

_TARGETS = ('targets', 'data_samples')  # fields that a network does not need for logits

_COPIED = 6  # largest number of repeated samples that are copies and not views


def samples_in(batch: Any) -> int:
    """Return the number of samples of a batch.

    Args:
        batch: A batch, or its fields in a tuple or list, or a single tensor.

    Raises:
        ConfigError: The batch has neither tensors nor lists.
    """
    batch = dict(enumerate(batch)) if isinstance(batch, (list, tuple)) else batch
    count = _stacked(batch)
    if count is None:
        count = next((len(value) for value in _values(batch) if isinstance(value, (list, tuple))), None)
    if count is None:
        raise ConfigError(
            f'the batch is a {type(batch).__name__} without tensors or lists; give the data loader a collate_fn that '
            "returns a dict such as {'inputs': Tensor, 'targets': Tensor}"
        )
    return count


def first_sample(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a batch of the first sample only, with tensors (1, ...) and lists of one entry."""
    return _for_each(batch, lambda value: value[:1])


def split(batch: Any, parts: int) -> list[tuple[float, Any]]:
    """Split a batch into micro-batches of sizes as equal as possible.

    Args:
        batch: A batch.
        parts: Number of micro-batches; fewer if some would have less than two samples, of which many normalisation
            layers need two.

    Returns:
        The share of the samples, from 0 to 1, and the views of each micro-batch. If there is only one, it is the batch
        itself.
    """
    samples = samples_in(batch) if parts > 1 else 0
    parts = min(parts, samples // 2)
    if parts <= 1:
        return [(1.0, batch)]
    fields = batch if isinstance(batch, Mapping) else dict(enumerate(batch))
    sizes = [samples // parts + (number < samples % parts) for number in range(parts)]
    result = []
    for begin, end in pairwise(accumulate(sizes, initial=0)):
        part: Any = _for_each(fields, itemgetter(slice(begin, end)))
        result.append(((end - begin) / samples, part if fields is batch else type(batch)(part.values())))
    return result


def repeated(sample: Mapping[str, Any], samples: int) -> dict[str, Any]:
    """Return a batch that repeats one sample; the tensors of more than six are read-only views.

    Args:
        sample: A batch of one sample.
        samples: Number of samples of the new batch.
    """

    def stack(tensor: Tensor) -> Tensor:
        others = tensor.shape[1:]
        return tensor.repeat(samples, *[1] * len(others)) if samples <= _COPIED else tensor.expand(samples, *others)

    return _for_each(sample, stack, lambda entries: entries * samples)


def shapes_in(batch: Mapping[str, Any]) -> tuple[tuple[str, tuple[int, ...], torch.dtype], ...]:
    """Return the name, shape and dtype of every tensor of a sample.

    Raises:
        ConfigError: The batch is not a dict, or its samples have different shapes.
    """
    if not isinstance(batch, Mapping):
        raise ConfigError(
            f'the batch is a {type(batch).__name__}, and must be a dict; give the data loader a collate_fn that '
            "returns one, such as {'inputs': Tensor, 'targets': Tensor}"
        )
    shapes = [(name, tuple(tensor.shape[1:]), tensor.dtype) for name, tensor in _tensors(first_sample(batch), '')]
    for name, value in batch.items():
        sizes = {tuple(entry.shape) for entry in value if isinstance(entry, Tensor)} if isinstance(value, list) else ()
        if _stacked(batch) is None and len(sizes) > 1:
            raise ConfigError(
                f'samples of one batch have {name!r} of different shapes, {" and ".join(map(str, sorted(sizes)[:2]))}; '
                'give the data loader a collate_fn that pads them'
            )
    return tuple(shapes)


def input_shapes(batch: Mapping[str, Any]) -> list[tuple[str, tuple[int, ...], torch.dtype]]:
    """Return the name, shape and dtype of every tensor of a sample except its targets."""
    return [shape for shape in shapes_in(batch) if shape[0].split('.')[0] not in _TARGETS]


def sample_text(batch: Mapping[str, Any]) -> str:
    """Describe samples for a message: ``'images of (3, 32, 32)'`` or ``'samples of inputs (8,) int64'``."""
    shapes = input_shapes(batch)
    if noun_of(batch) == 'image':
        return f'images of {shapes[0][1]}'
    described = (f'{name} {shape} {str(dtype).removeprefix("torch.")}' for name, shape, dtype in shapes)
    return f'samples of {" and ".join(described)}'


def noun_of(batch: Any) -> str:
    """Return ``'image'`` if ``'inputs'`` of a batch is (N, C, H, W), else ``'sample'``."""
    inputs = batch.get('inputs') if isinstance(batch, Mapping) else None
    return 'image' if isinstance(inputs, Tensor) and inputs.ndim == 4 else 'sample'


def article(noun: str) -> str:
    """Return a noun with its article: ``'an image'``, ``'a sample'``."""
    return f'an {noun}' if noun[0] in 'aeiou' else f'a {noun}'


def network_inputs(model: Any, batch: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
    """Return the inputs of a network for logits: a preprocessed batch without targets.

    Args:
        model: A :class:`~mmengine.model.BaseModel`, or a plain module without a data preprocessor.
        batch: A batch as the data loader returns it.
        training: Whether to preprocess for training. Default: ``False``.
    """
    prepared = model.data_preprocessor(batch, training) if hasattr(model, 'data_preprocessor') else batch
    if not isinstance(prepared, Mapping):  # a tuple of arguments, which MMEngine allows
        prepared = {'inputs': prepared[0]}
    return without_targets(prepared)


def without_targets(prepared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a preprocessed batch that a network needs for logits."""
    return {name: value for name, value in prepared.items() if name not in _TARGETS}


def run_network(network: Any, inputs: Inputs) -> Any:
    """Call a network with ``'inputs'`` by position and other fields by name.

    Args:
        network: A model or a wrapper of it.
        inputs: The result of :func:`network_inputs`, or the only input.
    """
    if not isinstance(inputs, Mapping):
        return network(inputs)
    others = {name: value for name, value in inputs.items() if name != 'inputs'}
    return network(inputs['inputs'], **others) if 'inputs' in inputs else network(**others)


def _values(batch: Any) -> Iterator[Any]:
    """Yield the values of a batch and of nested dicts, inputs and targets first."""
    if isinstance(batch, Mapping):
        for name in sorted(batch, key=lambda name: (name != 'inputs', name != 'targets')):
            yield from _values(batch[name])
    else:
        yield batch


def _stacked(batch: Any) -> int | None:
    """Return the number of samples according to the first tensor, or ``None`` without tensors."""
    return next((len(value) for value in _values(batch) if isinstance(value, Tensor) and value.ndim), None)


def _for_each(
    batch: Mapping[Any, Any], of_tensor: Callable[[Any], Any], of_list: Callable[[Any], Any] | None = None
) -> dict[Any, Any]:
    """Apply a function to all tensors of a batch that have one entry per sample, and it or another to such lists."""
    of_list = of_list or of_tensor
    count, is_stacked = samples_in(batch), _stacked(batch) is not None

    def has_samples(value: Any) -> bool:
        return isinstance(value, Tensor) and value.ndim > 0 and len(value) == count

    def change(value: Any) -> Any:
        if isinstance(value, Tensor):
            return of_tensor(value) if has_samples(value) else value
        if isinstance(value, Mapping):
            return {name: change(item) for name, item in value.items()}
        if not isinstance(value, (list, tuple)):
            return value
        are_parts = is_stacked and all(map(has_samples, value))
        return of_list(value) if len(value) == count and not are_parts else [change(item) for item in value]

    return {name: change(value) for name, value in batch.items()}


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the dotted name and the value of every tensor in a batch."""
    if isinstance(value, Tensor):
        yield name, value
    items = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    )
    for key, item in items:
        yield from _tensors(item, f'{name}.{key}'.lstrip('.'))
