"""Indices: which entries of a motivated tensor belong to its base tensor.

An index has, for each dimension of the motivated tensor, the positions of the base tensor's entries in order, or
``None`` for the whole dimension; an empty index means the whole tensor. As text it is ranges, such as
``'0:192,384:576'``.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

Index = tuple[tuple[int, ...] | None, ...]


def format_positions(positions: Sequence[int] | None) -> str:
    """Return positions as ranges with an exclusive end, such as ``'0:64,128:192'``; ``':'`` for ``None``."""
    if positions is None:
        return ':'
    ranges: list[list[int]] = []
    for position in positions:
        if ranges and position == ranges[-1][1]:
            ranges[-1][1] += 1
        else:
            ranges.append([position, position + 1])
    return ','.join(f'{start}:{end}' for start, end in ranges)


def parse_positions(text: str) -> tuple[int, ...] | None:
    """Return the positions that :func:`format_positions` wrote as text.

    Raises:
        ValueError: The text is malformed.
    """
    if text == ':':
        return None
    positions: list[int] = []
    for part in text.split(','):
        start, _, end = part.partition(':')
        positions += range(int(start), int(end))
    return tuple(positions)


@lru_cache(maxsize=4096)
def as_progressions(positions: tuple[int, ...]) -> list[tuple[int, int]] | None:
    """Return positions as nested arithmetic progressions: counts and steps, outermost first.

    The first 64 of each 128, three times, are ``[(3, 128), (64, 1)]``. ``None`` if there is no such form.
    """
    levels: list[tuple[int, int]] = []
    while len(positions) > 1:
        step = positions[1] - positions[0]
        if step <= 0:
            return None
        count = 1
        while count < len(positions) and positions[count] - positions[count - 1] == step:
            count += 1
        if len(positions) % count or any(
            positions[start + place] - positions[start] != place * step
            for start in range(0, len(positions), count)
            for place in range(count)
        ):
            return None
        levels.insert(0, (count, step))
        positions = positions[::count]
    return levels or [(1, 1)]


def mesh(index: Index, shape: Sequence[int]) -> tuple[Tensor, ...]:
    """Return an index as broadcasting integer tensors, for ``tensor[mesh(index, tensor.shape)]``."""
    return tuple(
        torch.arange(size).view(-1, *[1] * (len(shape) - dim - 1))
        if not index or index[dim] is None
        else torch.tensor(index[dim]).view(-1, *[1] * (len(shape) - dim - 1))
        for dim, size in enumerate(shape)
    )
