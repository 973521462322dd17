"""Which tensors of two models are frozen together."""

from collections.abc import Sequence
from fnmatch import fnmatch

from torch import Tensor, nn

from motivation.errors import ArgumentError, near_matches
from motivation.structures import MODEL_NAMES, ModelName
from motivation.weight_maps.weight_map import WeightMap


def frozen_tensors(
    weight_map: WeightMap, patterns: Sequence[str], models: Sequence[ModelName] = MODEL_NAMES
) -> dict[ModelName, set[str]]:
    """Return the tensors to freeze in both models, so that no tensor moves through the other model.

    A tensor that shares entries with a frozen one is frozen as well: the image of a base tensor, with the entries
    around it, and the base tensor of an image.

    Args:
        weight_map: The map of the two models.
        patterns: Names of tensors or modules, or patterns of them (``fnmatch``): ``'backbone.layer1'``,
            ``'backbone.blocks.[0-5]'``, ``'*.bias'``.
        models: The models whose names are compared with the patterns. Default: both.

    Returns:
        The names of the frozen parameters and buffers of each model.

    Raises:
        ArgumentError: A pattern matches nothing, or a model has no parameter left to train.
    """
    tensors = {name: weight_map.tensors(name) for name in MODEL_NAMES}
    frozen: dict[ModelName, set[str]] = {name: set() for name in MODEL_NAMES}
    for pattern in patterns:
        matches = {
            model: {name for name in tensors[model] if fnmatch(name, pattern) or fnmatch(name, f'{pattern}.*')}
            for model in models
        }
        if not any(matches.values()):
            modules = {name.rpartition('.')[0] for model in models for name in tensors[model]}
            raise ArgumentError(
                'parameters', f'has {pattern!r}, which matches no tensor or module; {near_matches(pattern, modules)}'
            )
        for model, found in matches.items():
            frozen[model] |= found
    shared = {pair for pair in weight_map.pairs if pair.base in frozen['base'] or pair.motivated in frozen['motivated']}
    frozen['base'] |= {pair.base for pair in shared}
    frozen['motivated'] |= {pair.motivated for pair in shared}
    for model in MODEL_NAMES:
        left = [
            name
            for name, tensor in tensors[model].items()
            if isinstance(tensor, nn.Parameter) and tensor.requires_grad and name not in frozen[model]
        ]
        if not left:
            raise ArgumentError('parameters', f'leaves nothing to train in the {model} model; freeze less')
    return frozen


def frozen_norms(model: nn.Module, frozen: set[str]) -> list[nn.Module]:
    """Return the normalisation layers of a model whose running statistics stay: those frozen with them.

    Args:
        model: The model.
        frozen: Names of its frozen tensors.
    """
    found = []
    for path, module in model.named_modules():
        names = [f'{path}.{name}' for name, _ in module.named_parameters(recurse=False)]
        has_statistics = isinstance(getattr(module, 'running_mean', None), Tensor)
        if has_statistics and (f'{path}.running_mean' in frozen or (names and frozen.issuperset(names))):
            found.append(module)
    return found
