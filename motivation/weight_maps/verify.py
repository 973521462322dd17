"""Proves a map: where the extension contributes nothing, both models must compute the same."""

import copy
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from motivation.weight_maps.copy_plan import ModelName
from motivation.weight_maps.weight_map import WeightMap

# Relative to the largest logit, in float64.
TOLERANCE = 1e-9


class Verdict(NamedTuple):
    """What :func:`verify` found.

    Attributes:
        error: Largest difference of the two models' outputs over the largest output, the worse of both
            directions of transfer.
        kind: ``'exact'``: the networks as they are; ``'norms apart'``: layers that take statistics over
            more channels in the motivated model were reduced to their scale and shift.
        round_trip: Whether base -> motivated -> base gave back every tensor bit by bit.
    """

    error: float
    kind: Literal['exact', 'norms apart']
    round_trip: bool

    @property
    def is_valid(self) -> bool:
        """Whether the motivated model computes the base's outputs, to :data:`TOLERANCE`."""
        return self.error <= TOLERANCE and self.round_trip

    def __str__(self) -> str:
        what = {'exact': 'exact', 'norms apart': 'exact but for norms over more channels'}[self.kind]
        trip = '' if self.round_trip else ', and a round trip changes weights'
        return f'{what if self.is_valid else "NOT VALID"} (relative difference {self.error:.1e}{trip})'


def verify(weight_map: WeightMap, input_size: Sequence[int], seed: int = 0) -> Verdict:
    """Check that the motivated model contains the base model as a map says.

    Both models are copied, get random weights and statistics in float64, and the extension is filled
    with zeros, so that it contributes nothing. After a transfer base -> motivated the motivated model
    must compute the base's outputs; likewise after motivated -> base. Agreeing shapes prove nothing: a
    leading slice of a fused ``qkv`` has the right shape and puts rows of K into Q.

    Statistics over more channels (a LayerNorm at greater width) differ whatever the map; where only
    they prevent agreement, every LayerNorm, GroupNorm and RMSNorm is replaced by its scale and shift
    alone in both models, and everything else is compared.

    Args:
        weight_map: Any map, yours included; the models are left untouched.
        input_size: Size of the images, (C, H, W).
        seed: Seed of weights and images.
    """
    kinds: tuple[Literal['exact'], Literal['norms apart']] = ('exact', 'norms apart')
    for kind in kinds:
        copied = copy.deepcopy(weight_map)
        directions: tuple[ModelName, ...] = ('base', 'motivated')
        found = [_compare(copied, source, kind == 'norms apart', input_size, seed) for source in directions]
        verdict = Verdict(max(error for error, _ in found), kind, all(same for _, same in found))
        if verdict.is_valid:
            break
    return verdict


@torch.no_grad()
def _compare(
    weight_map: WeightMap, source: ModelName, norms_apart: bool, input_size: Sequence[int], seed: int
) -> tuple[float, bool]:
    models = [weight_map.model('base').double().eval(), weight_map.model('motivated').double().eval()]
    if norms_apart:
        for model in models:
            _reduce_norms(model)
    generator = torch.Generator().manual_seed(seed)
    for tensors in (weight_map.tensors('base'), weight_map.tensors('motivated')):
        _randomise(tensors, generator)
    masks = weight_map.extension()
    for name, tensor in weight_map.tensors('motivated').items():
        if name in masks:
            tensor[masks[name].to(tensor.device)] = 0
    before = {name: tensor.clone() for name, tensor in weight_map.tensors(source).items()}
    target: ModelName = 'motivated' if source == 'base' else 'base'
    weight_map.transfer(source, statistics=True)
    device = next(models[0].parameters()).device
    images = torch.randn(2, *input_size, dtype=torch.float64, generator=generator).to(device)
    base, motivated = (model(images) for model in models)
    difference = (base - motivated).abs().max() / base.abs().max()
    weight_map.transfer(target, statistics=True)
    round_trip = all(torch.equal(tensor, before[name]) for name, tensor in weight_map.tensors(source).items())
    return float(difference.nan_to_num(torch.inf)), round_trip


def _randomise(tensors: dict[str, Tensor], generator: torch.Generator) -> None:
    """Random values that keep activations in range and hide nothing: no zeros, no equal channels."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, dtype=torch.float64, generator=generator)
        if name.endswith('running_var'):
            noise = 0.5 + noise.square()
        elif tensor.ndim > 1:
            noise = 0.5 * noise / max(tensor[0].numel(), 1) ** 0.5  # below 1, or softmax saturates without norms
        elif name.endswith('weight'):
            noise = 1 + 0.3 * noise
        else:
            noise = 0.3 * noise
        tensor.copy_(noise)


class _ScaleAndShift(nn.Module):
    """A norm without its statistics."""

    def __init__(self, norm: Any, channels_first: bool) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, getattr(norm, 'bias', None)
        self.channels_first = channels_first

    def forward(self, inputs: Tensor) -> Tensor:
        """Scale and shift the channels."""
        shape = (-1, *[1] * (inputs.ndim - 2)) if self.channels_first else (-1,)
        for parameter, combine in ((self.weight, torch.mul), (self.bias, torch.add)):
            if parameter is not None:
                inputs = combine(inputs, parameter.view(shape))
        return inputs


def _reduce_norms(model: nn.Module) -> None:
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)):
                first = isinstance(child, nn.GroupNorm) or type(child).__name__.endswith('2d')
                setattr(module, name, _ScaleAndShift(child, first))
