"""What has to be known of a stream before it is read: how many samples and classes it has."""

from collections.abc import Sequence
from typing import Any

from motivation.errors import ArgumentError


def total_of(lengths: Sequence[int] | None, given: int | None, stated: int | None) -> int:
    """Return the number of samples of a stream.

    Args:
        lengths: Number of samples of each shard, if known.
        given: What the config says.
        stated: What the data set says.

    Raises:
        ArgumentError: Nothing says it, or the config says another number than the shards.
    """
    if lengths is not None and given is not None and given != sum(lengths):
        raise ArgumentError('num_samples', f'is {given:,}, and the shards hold {sum(lengths):,}; leave it out')
    number = sum(lengths) if lengths is not None else given or stated
    if not number:
        raise ArgumentError(
            'num_samples',
            'must be given: the data set is read as a stream and does not state how many samples it has; for WebDataset shards '
            "split='train-{0000..0099}.tar|1281167' says it too, and shard_lengths in _info.json best",
        )
    return number


def classes_of(names: Sequence[Any] | None, given: int | None) -> list[str]:
    """Return the names of the classes of a stream, which are their numbers where there are no names.

    Args:
        names: The names that the data set states, if any.
        given: The number of classes in the config, if any.

    Raises:
        ArgumentError: Nothing says it, or the config says another number than the data set.
    """
    if names and given is not None and given != len(names):
        raise ArgumentError('num_classes', f'is {given}, and the data set names {len(names)} classes; leave it out')
    if not names and given is None:
        raise ArgumentError(
            'num_classes', 'must be given: the data set is read as a stream and does not state how many classes it has'
        )
    return [str(name) for name in names] if names else [str(index) for index in range(given or 0)]
