"""Proves a map: where the extension contributes nothing, both models must compute the same."""

import copy
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from motivation.weight_maps.copy_plan import ModelName
from motivation.weight_maps.tracing import slow_attention, takes_channel_statistics
from motivation.weight_maps.tracing.rules import flat
from motivation.weight_maps.weight_map import WeightMap

# Largest difference of outputs, relative to the largest output, in float64.
TOLERANCE = 1e-9

# How much the outputs must depend on the image, relative to the largest; below, agreement says nothing.
SENSITIVITY = 1e-3

_IMAGES = 4


class Verdict(NamedTuple):
    """What :func:`verify` found.

    Attributes:
        error: Largest difference of the two models' outputs over the largest output, the worse of both
            directions of transfer.
        kind: ``'exact'``: the networks as they are; ``'norms apart'``: norms that take statistics over
            more channels in the motivated model were reduced to their scale and shift.
        round_trip: Whether base -> motivated -> base gave back every tensor bit by bit.
        sensitivity: How much the outputs change with the image, over the largest output.
    """

    error: float
    kind: Literal['exact', 'norms apart']
    round_trip: bool
    sensitivity: float

    @property
    def is_valid(self) -> bool:
        """Whether the motivated model computes the base's outputs, and the outputs tell."""
        return self.error <= TOLERANCE and self.round_trip and self.sensitivity >= SENSITIVITY

    def __str__(self) -> str:
        found = f'relative difference {self.error:.1e}'
        if not self.round_trip:
            return f'NOT VALID (a round trip changes weights; {found})'
        if self.error > TOLERANCE:
            return f'NOT VALID ({found})'
        if self.sensitivity < SENSITIVITY:
            return f'NOT PROVEN (the outputs hardly depend on the image, by {self.sensitivity:.1e}; {found})'
        return f'{"exact" if self.kind == "exact" else "exact but for norms over more channels"} ({found})'


def verify(weight_map: WeightMap, input_size: Sequence[int], seed: int = 0) -> Verdict:
    """Check that the motivated model contains the base model as a map says.

    Both models are copied and get random weights in float64, the extension is filled with zeros, so that
    it contributes nothing, and the statistics of batch norms are those of the images, so that every layer
    has a say in the outputs. After a transfer base -> motivated the motivated model must compute the
    base's outputs; likewise after motivated -> base. Agreeing shapes prove nothing: a leading slice of a
    fused ``qkv`` has the right shape and puts rows of K into Q.

    Statistics over more channels (a LayerNorm at greater width) differ whatever the map; where there are
    such norms and outputs differ, these norms are reduced to their scale and shift in both models, and
    everything else is compared.

    Args:
        weight_map: Any map, yours included; the models are left untouched.
        input_size: Size of the images, (C, H, W).
        seed: Seed of weights and images.
    """
    verdict = _compare_both_ways(copy.deepcopy(weight_map), 'exact', input_size, seed)
    grown = _grown_norms(weight_map)
    if verdict.is_valid or not grown:
        return verdict
    copied = copy.deepcopy(weight_map)
    for names in grown:
        for model, name in zip((copied.model('base'), copied.model('motivated')), names, strict=True):
            parent, _, own = name.rpartition('.')
            setattr(model.get_submodule(parent), own, _ScaleAndShift(model.get_submodule(name)))
    return _compare_both_ways(copied, 'norms apart', input_size, seed)


def _grown_norms(weight_map: WeightMap) -> list[tuple[str, str]]:
    """Norms that take their statistics over more channels in the motivated model, by both names."""
    found = []
    for pair in weight_map.pairs:
        names = (pair.base.rpartition('.')[0], pair.motivated.rpartition('.')[0])
        norms = [
            weight_map.model('base').get_submodule(names[0]),
            weight_map.model('motivated').get_submodule(names[1]),
        ]
        if pair.base.endswith('.weight') and all(map(takes_channel_statistics, norms)):
            ours, theirs = (_normalised(norm) for norm in norms)
            if ours != theirs:
                found.append(names)
    return found


def _normalised(norm: Any) -> int:
    """Number of channels, or of channels and positions, of which a norm takes the statistics."""
    return norm.weight.numel() // (norm.num_groups if isinstance(norm, nn.GroupNorm) else 1)


def _compare_both_ways(
    weight_map: WeightMap, kind: Literal['exact', 'norms apart'], input_size: Sequence[int], seed: int
) -> Verdict:
    with slow_attention():
        found = [
            _compare(weight_map, 'base', kind, input_size, seed),
            _compare(weight_map, 'motivated', kind, input_size, seed),
        ]
    errors, sensitivities, round_trips = zip(*found, strict=True)
    return Verdict(max(errors), kind, all(round_trips), min(sensitivities))


@torch.no_grad()
def _compare(
    weight_map: WeightMap, source: ModelName, kind: str, input_size: Sequence[int], seed: int
) -> tuple[float, float, bool]:
    """Error, sensitivity, and whether the round trip is exact, for one direction of transfer."""
    models = {
        'base': weight_map.model('base').double().eval(),
        'motivated': weight_map.model('motivated').double().eval(),
    }
    generator = torch.Generator().manual_seed(seed)
    # Without norms residual streams grow from block to block: weaker branches keep softmax from saturating.
    gain = 2**0.5 if kind == 'exact' else 0.5
    for tensors in (weight_map.tensors('base'), weight_map.tensors('motivated')):
        _randomise(tensors, gain, generator)
    masks = weight_map.extension()
    for name, tensor in weight_map.tensors('motivated').items():
        if name in masks:
            tensor[masks[name].to(tensor.device)] = 0
    device = next(models['base'].parameters()).device
    images = torch.randn(_IMAGES, *input_size, dtype=torch.float64, generator=generator).to(device)
    _take_statistics(models[source], images)
    before = {name: tensor.clone() for name, tensor in weight_map.tensors(source).items()}
    target: ModelName = 'motivated' if source == 'base' else 'base'
    weight_map.transfer(source, statistics=True)
    base, motivated = (_outputs(models[name], images) for name in ('base', 'motivated'))
    largest = base.abs().max()
    error = ((base - motivated).abs().max() / largest).nan_to_num(torch.inf)
    sensitivity = ((base - base.mean(dim=0)).abs().max() / largest).nan_to_num(0.0)
    weight_map.transfer(target, statistics=True)
    round_trip = all(torch.equal(tensor, before[name]) for name, tensor in weight_map.tensors(source).items())
    return float(error), float(sensitivity), round_trip


def _randomise(tensors: dict[str, Tensor], gain: float, generator: torch.Generator) -> None:
    """Random values that keep activations in range and hide nothing: no zeros, no equal channels."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, dtype=torch.float64, generator=generator)
        if name.endswith('running_var'):
            noise = 0.5 + noise.square()
        elif tensor.ndim > 1:
            noise = gain * noise / max(tensor[0].numel(), 1) ** 0.5
        elif name.endswith('weight'):
            noise = 1 + 0.3 * noise
        else:
            noise = 0.3 * noise
        tensor.copy_(noise)


def _take_statistics(model: nn.Module, images: Tensor) -> None:
    """Give batch norms the statistics of the images."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum


def _outputs(model: nn.Module, images: Tensor) -> Tensor:
    """All outputs of a model, (N, outputs)."""
    output = model(images)
    tensors = flat(list(output.values()) if isinstance(output, dict) else [output])
    return torch.cat([tensor.reshape(len(images), -1) for tensor in tensors], dim=1)


class _ScaleAndShift(nn.Module):
    """A norm without its statistics."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, getattr(norm, 'bias', None), getattr(norm, 'eps', 0.0)
        self.channels_first = isinstance(norm, nn.GroupNorm) or type(norm).__name__.endswith('2d')

    def forward(self, inputs: Tensor) -> Tensor:
        """Scale and shift the channels."""
        for parameter, combine in ((self.weight, torch.mul), (self.bias, torch.add)):
            if parameter is not None:
                shaped = parameter.view(-1, *[1] * (inputs.ndim - 2)) if self.channels_first else parameter
                inputs = combine(inputs, shaped)
        return inputs
