"""A weight map that the user writes, or another map has saved."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from motivation.errors import ArgumentError
from motivation.registry import WEIGHT_MAPS
from motivation.utils.arguments import check_one_of, checked
from motivation.weight_maps.index import parse_positions
from motivation.weight_maps.weight_map import TensorPair, WeightMap


@WEIGHT_MAPS.register_module()
class ExplicitMap(WeightMap):
    """A weight map given pair by pair, for networks that no other map supports.

    Each pair names a base tensor and a motivated tensor and, if the latter is larger, its entries that belong to the
    base tensor: for each dimension, in order, ranges with an exclusive end such as ``'0:64,128:192'``, or ``':'``
    for the whole dimension.

    Args:
        base: The base model.
        motivated: The motivated model.
        pairs: ``dict(base=name, motivated=name, index=[...])`` for each base tensor.
        file: A JSON file with the pairs under ``"pairs"``, as :meth:`WeightMap.save` and
            ``motivation map --json`` write it.

    Raises:
        ConfigError: Both or neither of ``pairs`` and ``file`` are given, a pair is malformed, or the map is
            invalid.

    Example:
        >>> weight_map = dict(type='ExplicitMap', file='my_map.json')
        >>> weight_map = dict(type='ExplicitMap', pairs=[
        ...     dict(base='fc.weight', motivated='fc.weight', index=[':', '0:64']), ...])
    """

    @checked
    def __init__(
        self,
        base: nn.Module,
        motivated: nn.Module,
        pairs: Sequence[dict[str, Any]] | None = None,
        file: str | None = None,
    ) -> None:
        check_one_of(pairs=pairs, file=file)
        self.file = file
        super().__init__(base, motivated, map(_parse, _read(file) if pairs is None else pairs))

    def __repr__(self) -> str:
        return f'ExplicitMap({f"file={self.file!r}" if self.file else "pairs=..."})'


def _read(file: str | None) -> Sequence[dict[str, Any]]:
    path = Path(file or '')
    if not path.is_file():
        raise ArgumentError('file', f"'{path}' does not exist; write one with motivation map --json")
    try:
        pairs = json.loads(path.read_text())['pairs']
        if not isinstance(pairs, list):
            raise TypeError(f'"pairs" is {pairs!r}, not a list')
        return pairs
    except (ValueError, KeyError, TypeError) as error:
        raise ArgumentError(
            'file',
            f"'{path}' is not a weight map ({type(error).__name__}: {error}); write one with motivation map --json",
        ) from error


def _parse(entry: dict[str, Any]) -> TensorPair:
    try:
        if not entry.keys() <= {'base', 'motivated', 'index'} or not isinstance(entry['base'], str):
            raise ValueError
        index = tuple(parse_positions(text) for text in entry.get('index', ()))
        return TensorPair(entry['base'], entry['motivated'], index)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArgumentError(
            'pairs', f"must be like dict(base='fc.weight', motivated='fc.weight', index=[':', '0:64']), got {entry!r}"
        ) from error
