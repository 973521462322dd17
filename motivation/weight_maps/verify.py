"""Proves a map: where the extension contributes nothing, both models must compute the same."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from motivation.utils.example import Example, find_example
from motivation.weight_maps.random_weights import randomise, take_statistics
from motivation.weight_maps.small_images import outputs, smallest_telling
from motivation.weight_maps.tracing import slow_attention, takes_channel_statistics
from motivation.weight_maps.weight_map import WeightMap

# Largest difference of outputs, relative to the largest output, in float64.
TOLERANCE = 1e-9

# How much the outputs must depend on the inputs, relative to the largest; below, agreement says nothing.
SENSITIVITY = 1e-3

# Difference in float32 above which two networks differ by more than rounding.
_CLOSE = 1e-3


class Verdict(NamedTuple):
    """What :func:`verify` found.

    Attributes:
        error: Largest difference of the two models' outputs over the largest output.
        round_trip: Whether base -> motivated -> base gave back every tensor bit by bit.
        sensitivity: How much the outputs change with the inputs, over the largest output.
        kind: ``'exact'``: the networks as they are; ``'norms apart'``: norms that take statistics over
            more channels in the motivated model were reduced to their scale and shift.
    """

    error: float
    round_trip: bool
    sensitivity: float
    kind: Literal['exact', 'norms apart']

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
            return f'NOT PROVEN (the outputs hardly depend on the inputs, by {self.sensitivity:.1e}; {found})'
        return f'{"exact" if self.kind == "exact" else "exact but for norms over more channels"} ({found})'


def verify(
    weight_map: WeightMap,
    input_size: Sequence[int] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Verdict:
    """Check that the motivated model contains the base model as a map says.

    Both models are copied. The base model gets random weights in float64 and statistics of batch norms
    that are those of the inputs, so that every layer has a say in the outputs; the extension is filled
    with zeros, so that it contributes nothing. After a transfer base -> motivated the motivated model
    must compute the base's outputs. Then the base is emptied, and a transfer motivated -> base must
    bring back every weight, bit by bit, and with them the outputs: so it holds for both directions.
    Agreeing shapes prove nothing: a leading slice of a fused ``qkv`` has the right shape and puts rows
    of K into Q.

    The inputs are those that the map knows, see :attr:`WeightMap.example`. Images are smaller where the
    networks take such and all parts of the base model's parameters still have a say in its outputs.

    Statistics over more channels (a LayerNorm at greater width) differ whatever the map; where there are
    such norms and outputs differ, these norms are reduced to their scale and shift in both models, and
    everything else is compared.

    Args:
        weight_map: Any map, yours included; the models are left untouched.
        input_size: Size of images, (C, H, W), instead of the inputs that the map knows.
        seed: Seed of weights and inputs.
        progress: Called with what comes next.
    """
    say = progress or (lambda what: None)
    models = [weight_map.model('base'), weight_map.model('motivated')]
    example = weight_map.example if input_size is None else find_example(models[0], input_size)
    say('looking for smaller images on which everything shows')
    smallest = smallest_telling(models, example)
    copied, example = copy.deepcopy((weight_map, smallest))
    grown = _grown_norms(copied)
    say(f'transferring and comparing, on {smallest}')
    with slow_attention():
        if not grown:
            return Verdict(*_compare(_in_float64(copied), example, seed), 'exact')
        if _are_close(copied, example, seed):  # else float64 would not bring them together
            verdict = Verdict(*_compare(_in_float64(copied), example, seed), 'exact')
            if verdict.is_valid:
                return verdict
        for names in grown:
            for model, name in zip((copied.model('base'), copied.model('motivated')), names, strict=True):
                parent, _, own = name.rpartition('.')
                setattr(model.get_submodule(parent), own, _ScaleAndShift(model.get_submodule(name)))
        say(f'comparing all but norms over more channels, on {smallest}')
        return Verdict(*_compare(_in_float64(copied), example, seed, gain=0.5), 'norms apart')


def _in_float64(weight_map: WeightMap) -> WeightMap:
    for model in (weight_map.model('base'), weight_map.model('motivated')):
        model.double()
    return weight_map


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


class _Found(NamedTuple):
    error: float
    round_trip: bool
    sensitivity: float


@torch.no_grad()
def _are_close(weight_map: WeightMap, example: Example, seed: int) -> bool:
    """Whether both models' outputs for inputs differ by no more than rounding in float32."""
    inputs = _transferred(weight_map, example, seed, gain=2**0.5)
    found, theirs_found = (outputs(weight_map.model(name), inputs) for name in ('base', 'motivated'))
    return _relative(found - theirs_found, found) < _CLOSE


@torch.no_grad()
def _compare(weight_map: WeightMap, example: Example, seed: int, gain: float = 2**0.5) -> _Found:
    """Transfer base -> motivated, compare outputs, empty the base, transfer back and compare weights.

    Args:
        weight_map: Its models change.
        example: Where inputs come from.
        seed: Seed of weights and inputs.
        gain: As of :func:`_transferred`.
    """
    inputs = _transferred(weight_map, example, seed, gain)
    ours = weight_map.tensors('base')
    before = {name: tensor.clone() for name, tensor in ours.items()}
    found, theirs_found = (outputs(weight_map.model(name), inputs) for name in ('base', 'motivated'))
    for tensor in ours.values():
        tensor.zero_()
    weight_map.transfer('motivated', statistics=True)
    round_trip = all(torch.equal(tensor, before[name]) for name, tensor in ours.items())
    sensitivity = (found - found.mean(dim=0)).abs().max() / found.abs().max()
    return _Found(_relative(found - theirs_found, found), round_trip, float(sensitivity.nan_to_num(0.0)))


def _relative(difference: Tensor, found: Tensor) -> float:
    """Largest difference over the largest output; infinite where it is no number."""
    return float((difference.abs().max() / found.abs().max()).nan_to_num(torch.inf))


def _transferred(weight_map: WeightMap, example: Example, seed: int, gain: float) -> dict[str, Any]:
    """Make the base model random and the extension zero, and transfer base -> motivated; returns inputs.

    Args:
        weight_map: Its models change.
        example: Where inputs come from.
        seed: Seed of weights and inputs.
        gain: Of weights of layers. Without norms residual streams grow from block to block: weaker
            branches keep softmax from saturating.
    """
    base, _ = weight_map.model('base').eval(), weight_map.model('motivated').eval()
    like = next(base.parameters())
    generator = torch.Generator().manual_seed(seed)
    randomise(weight_map.tensors('base'), gain, generator)
    theirs = weight_map.tensors('motivated')
    for name, mask in weight_map.extension().items():
        theirs[name].masked_fill_(mask.to(like.device), 0)
    inputs = example.inputs(base, _samples(base), seed + 1)
    take_statistics(base, inputs)
    weight_map.transfer('base', statistics=True)
    return inputs


def _samples(model: nn.Module) -> int:
    """Two show that outputs depend on them; statistics of batch norms are of more."""
    return 4 if any(isinstance(module, _BatchNorm) for module in model.modules()) else 2


class _ScaleAndShift(nn.Module):
    """A norm without its statistics."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, getattr(norm, 'bias', None), getattr(norm, 'eps', 0.0)
        self.whole = [norm]  # in a list, so that its parameters are not registered twice

    def forward(self, inputs: Tensor) -> Tensor:
        """Scale and shift the channels."""
        shape = _shape_of_scale(self.whole[0], inputs)
        for parameter, combine in ((self.weight, torch.mul), (self.bias, torch.add)):
            if parameter is not None:
                inputs = combine(inputs, parameter.view(shape))
        return inputs


def _shape_of_scale(norm: Any, inputs: Tensor) -> Sequence[int]:
    """Shape in which a norm's weight is multiplied with inputs, whose channels may be first or last.

    A weight that is not a number leaves its mark on all of its channel, and on no other, whatever the
    inputs are.
    """
    if norm.weight.ndim > 1:  # of channels and positions, which are last
        return norm.weight.shape
    first = torch.arange(len(norm.weight), device=inputs.device) == 0
    weight = norm.weight.masked_fill(first, torch.nan)
    few = inputs[tuple(slice(None if size == len(first) else 1) for size in inputs.shape)]
    marked = torch.func.functional_call(norm, {'weight': weight}, few).isnan()
    for axis in range(1, inputs.ndim):
        if torch.equal(marked.movedim(axis, 0).flatten(1).any(dim=1), first):
            return [-1 if place == axis else 1 for place in range(inputs.ndim)]
    raise AssertionError(f'{type(norm).__name__} scales no axis of inputs of shape {tuple(inputs.shape)}')
