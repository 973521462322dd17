"""Copying between tensors and their images, along views made once so that copying allocates nothing."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from motivation.structures import ModelName
from motivation.weight_maps.index import Index, as_progressions

Pairs = list[tuple[Tensor, Tensor, Index]]


class CopyPlan:
    """Copies base tensors into their images, or back.

    Args:
        pairs: Base tensor, motivated tensor, and the index of the image in the latter.
    """

    def __init__(self, pairs: Pairs) -> None:
        self._memory = _memory(pairs)
        self._base: list[Tensor] = []
        self._motivated: list[Tensor] = []
        self._rows: list[FlatIndex] = []
        for base, motivated, index in pairs:
            is_complete = all(positions is None for positions in index)
            views = (base, motivated) if is_complete else aligned_views(base, motivated, index)
            if views is None:
                self._rows.append(flat_index(base, motivated, index))
            else:
                self._base.append(views[0])
                self._motivated.append(views[1])

    def fits(self, pairs: Pairs) -> bool:
        """Whether the tensors have the same memory as when the plan was made."""
        return self._memory == _memory(pairs)

    @torch.no_grad()
    def copy(self, source: ModelName) -> None:
        """Copy the tensors of one model into those of the other."""
        if source == 'base':
            if self._base:
                torch._foreach_copy_(self._motivated, self._base)
            for pair in self._rows:
                if pair.motivated.ndim == 1:  # twice as fast as index_copy_
                    pair.motivated.scatter_(0, pair.rows, pair.base.to(pair.motivated.dtype))
                else:
                    pair.motivated.index_copy_(0, pair.rows, pair.base.to(pair.motivated.dtype))
        else:
            if self._base:
                torch._foreach_copy_(self._base, self._motivated)
            for pair in self._rows:
                if pair.base.dtype == pair.motivated.dtype:
                    torch.index_select(pair.motivated, 0, pair.rows, out=pair.base)
                else:
                    pair.base.copy_(pair.motivated.index_select(0, pair.rows))


def _memory(pairs: Iterable[tuple[Tensor, Tensor, Index]]) -> list[int]:
    return [tensor.data_ptr() for base, motivated, _ in pairs for tensor in (base, motivated)]


def aligned_views(base: Tensor, motivated: Tensor, index: Index) -> tuple[Tensor, Tensor] | None:
    """Return views of both tensors with one shape, in which each base entry is where its image is.

    Returns:
        The views, or ``None`` if the index has no regular pattern.
    """
    sizes, strides, offset = [], [], motivated.storage_offset()
    for positions, size, stride in zip(index, motivated.shape, motivated.stride(), strict=True):
        levels = [(size, 1)] if positions is None else as_progressions(positions)
        if levels is None:
            return None
        offset += stride * (positions[0] if positions else 0)
        sizes += [count for count, _ in levels]
        strides += [step * stride for _, step in levels]
    return base.view(sizes), motivated.as_strided(sizes, strides, offset)


class FlatIndex(NamedTuple):
    """A tensor pair as rows in memory order: row ``rows[i]`` of ``motivated`` is row i of ``base``.

    Both tensors have one dimension if a row has one entry.
    """

    base: Tensor
    motivated: Tensor
    rows: Tensor


def flat_index(base: Tensor, motivated: Tensor, index: Index) -> FlatIndex:
    """Return both tensors as rows of memory, for an index without a regular pattern.

    The tensors must be dense, with their dimensions in any order. Rows are as wide as the index allows.
    """
    places = torch.zeros((), dtype=torch.int64)
    for dim, (positions, size) in enumerate(zip(index, motivated.shape, strict=True)):
        along = torch.arange(size) if positions is None else torch.tensor(positions)
        places = places + (along * motivated.stride(dim)).view(-1, *[1] * (motivated.ndim - dim - 1))
    order = sorted(range(base.ndim), key=base.stride, reverse=True)
    places = places.permute(order).reshape(-1)
    width = _row_width(places, base, motivated)
    rows = [
        tensor.as_strided((tensor.numel() // width, width), (width, 1))
        if width > 1
        else tensor.as_strided((tensor.numel(),), (1,))  # five times as fast as rows of one
        for tensor in (base, motivated)
    ]
    return FlatIndex(rows[0], rows[1], (places[::width] // width).to(motivated.device))


def _row_width(places: Tensor, base: Tensor, motivated: Tensor) -> int:
    """Return the widest row, a product of trailing dimensions in memory, whose entries the index keeps together."""
    best = width = 1
    for dim in sorted(range(base.ndim), key=base.stride):
        width *= base.shape[dim]
        if motivated.numel() % width:
            break
        rows = places.view(-1, width)
        if not bool((rows[:, 0] % width == 0).all() and (rows == rows[:, :1] + torch.arange(width)).all()):
            break
        best = width
    return best
