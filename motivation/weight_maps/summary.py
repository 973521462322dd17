"""Descriptions of a weight map as text."""

from torch import nn

from motivation.weight_maps.index import format_positions
from motivation.weight_maps.weight_map import WeightMap

_SHOWN = 60  # characters of an index


def table_of_pairs(weight_map: WeightMap) -> list[str]:
    """Return a table as lines of text, with the names, shapes and index of each tensor pair."""
    base, motivated = weight_map.tensors('base'), weight_map.tensors('motivated')
    rows = [('base tensor', 'shape', 'motivated tensor', 'shape', 'entries')]
    for pair in weight_map.pairs:
        shapes = (' x '.join(map(str, tensor.shape)) for tensor in (base[pair.base], motivated[pair.motivated]))
        entries = ' x '.join(map(format_positions, pair.index)) or 'all'
        entries = entries if len(entries) <= _SHOWN else entries[: _SHOWN - 3] + '...'
        rows.append((pair.base, next(shapes), pair.motivated, next(shapes), entries))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return ['  '.join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows]


def describe_map(weight_map: WeightMap) -> list[str]:
    """Return a summary of a map as lines of text: its sizes, its coverage and the extension."""
    sizes = {
        name: sum(tensor.numel() for tensor in weight_map.tensors(name).values() if isinstance(tensor, nn.Parameter))
        for name in ('base', 'motivated')
    }
    partial = sum(bool(pair.index) for pair in weight_map.pairs)
    return [
        f'map        {weight_map!r}',
        f'tensors    {len(weight_map.pairs)}, of which {partial} map to a part of a larger tensor',
        f'parameters {sizes["base"]:,} in the base and {sizes["motivated"]:,} in the motivated model',
        f'coverage   {weight_map.coverage:.1%} of the motivated model is the base model',
        f'extension  {weight_map.extension_size:,} parameters',
    ]
