"""The zero extension, with which the motivated model begins as the base model's function."""

from collections.abc import Sequence

import torch
from torch import nn

from motivation.utils.example import Example, find_example
from motivation.utils.random_state import preserved_random_state
from motivation.utils.training_mode import evaluation_mode
from motivation.weight_maps.index import mesh
from motivation.weight_maps.residual import added_blocks, residual_ends
from motivation.weight_maps.small_images import outputs, smallest_running
from motivation.weight_maps.tracing import Trace
from motivation.weight_maps.weight_map import WeightMap

# The input dimension of a layer's weight.
_READS = {nn.Linear: 1, nn.Conv1d: 1, nn.Conv2d: 1, nn.Conv3d: 1, nn.ConvTranspose1d: 0, nn.ConvTranspose2d: 0}

_TOLERANCE = 1e-4  # relative to the largest output, in float32


@torch.no_grad()
def zero_extension(weight_map: WeightMap, input_size: Sequence[int] | None = None) -> list[str]:
    """Make the motivated model compute the base model's function, in place; the base model does not change.

    Width: weights with which the base model's channels read added channels become zero. Added channels keep their
    initialisation, so that they learn from the first step (with zeros on both sides no gradient would reach them).
    Depth: the last scale or projection of every residual branch of an added block becomes zero, so that the block
    returns its input (Goyal et al., arXiv 1706.02677, section 5.1).

    Args:
        weight_map: The map of the two models.
        input_size: Image size (C, H, W) for comparing outputs; by default the inputs are those of
            :attr:`WeightMap.example`.

    Returns:
        The reasons why the motivated model still computes something else, a sentence each; empty if there are none.
    """
    example = weight_map.example if input_size is None else find_example(weight_map.model('base'), input_size)
    run = weight_map.trace_motivated(example)
    _stop_reading(weight_map)
    reasons = _silence_blocks(weight_map, run)
    weight_map.transfer('base', statistics=True)
    grown = getattr(weight_map, 'grown_statistics', [])
    if grown:
        reasons.append(f'{len(grown)} norms take their statistics over more channels ({grown[0]!r} first)')
    difference, largest = _compare(weight_map, example)
    if not reasons and difference > _TOLERANCE * largest:
        reasons.append(f'its outputs differ by up to {difference:.1e}, of {largest:.1e}')
    return reasons


def _stop_reading(weight_map: WeightMap) -> None:
    tensors = weight_map.tensors('motivated')
    motivated = weight_map.model('motivated')
    for pair in weight_map.pairs:
        path, _, name = pair.motivated.rpartition('.')
        layer = motivated.get_submodule(path)
        reads = next((dim for kind, dim in _READS.items() if isinstance(layer, kind)), None)
        if name != 'weight' or reads is None or not pair.index or pair.index[reads] is None:
            continue
        tensor = tensors[pair.motivated]
        kept = tensor[mesh(pair.index, tensor.shape)].clone()
        written = tuple(None if dim == reads else positions for dim, positions in enumerate(pair.index))
        tensor[mesh(written, tensor.shape)] = 0
        tensor[mesh(pair.index, tensor.shape)] = kept


def _silence_blocks(weight_map: WeightMap, run: Trace) -> list[str]:
    tensors = weight_map.tensors('motivated')
    reasons = []
    for block in added_blocks(weight_map):
        ends = residual_ends(block, run)
        if not ends:
            reasons.append(f'the added block {block!r} has no residual branch to begin at zero')
        for name in ends:
            if isinstance(tensors.get(name), nn.Parameter):
                tensors[name].zero_()
    return reasons


def _compare(weight_map: WeightMap, example: Example) -> tuple[float, float]:
    """Return the largest difference of the two models' outputs in evaluation mode, and the base model's largest output."""
    models = weight_map.model('base'), weight_map.model('motivated')
    with preserved_random_state(), evaluation_mode(*models):
        inputs = smallest_running(models, example).inputs(models[0], samples=2)
        base, motivated = (outputs(model, inputs) for model in models)
    return float((base - motivated).abs().max()), float(base.abs().max())
