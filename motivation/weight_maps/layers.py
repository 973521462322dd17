"""The layers of both models, numbered through a weight map."""

from typing import Any

from timm.models import group_parameters
from torch import nn

from motivation.errors import ConfigError
from motivation.structures import ModelName
from motivation.weight_maps.weight_map import WeightMap


def layer_numbers(weight_map: WeightMap) -> dict[ModelName, dict[str, int]]:
    """Number the layers of both models, so that a shared tensor has one number.

    A parameter of the motivated model has the number that timm gives it (``group_matcher`` of the network: the stem is
    0, each block one more, the head the last), and a parameter of the base model has the number of its image.

    Args:
        weight_map: The map of the two models.

    Returns:
        For each model, the layer of every parameter by its name.

    Raises:
        ConfigError: The motivated model has no ``group_matcher``, itself or in its ``backbone``.
    """
    motivated = _numbers(weight_map.model('motivated'))
    parameters = dict(weight_map.model('base').named_parameters(remove_duplicate=False))
    base = {pair.base: motivated[pair.motivated] for pair in weight_map.pairs if pair.base in parameters}
    return {'base': base, 'motivated': motivated}


def layer_scales(weight_map: WeightMap, decay: float, least: float = 0.0) -> dict[ModelName, dict[str, float]]:
    """Return the factor of each parameter's learning rate in layer-wise decay (Bao et al., arXiv 2106.08254).

    It is ``max(least, decay ** (last layer - layer))``, and 1 in the head, with the layers of :func:`layer_numbers`.

    Args:
        weight_map: The map of the two models.
        decay: Factor from each layer to the one before it, above 0 and at most 1.
        least: The least factor. Default: 0.

    Raises:
        ConfigError: See :func:`layer_numbers`.
    """
    numbers = layer_numbers(weight_map)
    last = max(numbers['motivated'].values())
    return {
        name: {parameter: max(least, decay ** (last - layer)) for parameter, layer in layers.items()}
        for name, layers in numbers.items()
    }


def table_of_scales(weight_map: WeightMap, decay: float, least: float = 0.0) -> list[str]:
    """Return the factors of :func:`layer_scales` as lines of a table, a parameter of the motivated model each."""
    numbers, scales = layer_numbers(weight_map), layer_scales(weight_map, decay, least)
    images = {pair.motivated: pair.base for pair in weight_map.pairs}
    rows = [('layer', 'motivated tensor', 'rate', 'base tensor', 'rate')]
    for name, layer in sorted(numbers['motivated'].items(), key=lambda item: item[1]):
        base = images.get(name, '')
        rate = f'{scales["base"][base]:.3g}' if base else ''
        rows.append((str(layer), name, f'{scales["motivated"][name]:.3g}', base or '-', rate))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return ['  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _numbers(model: nn.Module) -> dict[str, int]:
    """Return the layer of each parameter of a model by timm's grouping; those outside of its backbone are the last."""
    prefix = '' if hasattr(model, 'group_matcher') else 'backbone.'
    network: Any = model if not prefix else getattr(model, 'backbone', None)
    if network is None or not hasattr(network, 'group_matcher'):
        raise ConfigError(
            'layer_decay needs layers, and the motivated model has no group_matcher() that groups its parameters; give '
            'it one, as networks of timm have, or leave layer_decay out'
        )
    groups = group_parameters(network, network.group_matcher(coarse=False), reverse=True)
    last = max(groups.values())
    # Tied parameters have several names, of which named_parameters() has the first.
    first: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first.setdefault(id(parameter), name)
    return {
        name: groups.get(first[id(parameter)].removeprefix(prefix), last)
        for name, parameter in model.named_parameters(remove_duplicate=False)
    }
