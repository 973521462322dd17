"""Verification of a weight map: with an extension of zeros both models must compute the same."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from motivation.utils.example import Example, find_example
from motivation.utils.training_mode import unfused_attention
from motivation.weight_maps.random_weights import randomise, take_statistics
from motivation.weight_maps.small_images import outputs, smallest_telling
from motivation.weight_maps.tracing import takes_channel_statistics
from motivation.weight_maps.weight_map import WeightMap

# Relative to the largest output: the difference allowed in float64, the least change with the inputs without which
# agreement proves nothing, and the difference in float32 above which networks differ by more than rounding.
TOLERANCE = 1e-9
SENSITIVITY = 1e-3
_CLOSE = 1e-3


class Verdict(NamedTuple):
    """The result of :func:`verify`.

    Attributes:
        error: Largest difference of the two models' outputs, relative to the largest output.
        round_trip: Whether a transfer base -> motivated -> base restored every tensor bit for bit.
        sensitivity: Change of the outputs with the inputs, relative to the largest output.
        kind: ``'exact'``: the networks were compared unchanged; ``'norms apart'``: norms that take statistics over
            more channels in the motivated model were reduced to their scale and shift.
    """

    error: float
    round_trip: bool
    sensitivity: float
    kind: Literal['exact', 'norms apart']

    @property
    def is_valid(self) -> bool:
        """Whether the motivated model computes the base model's outputs, and these depend on the inputs."""
        return self.error <= TOLERANCE and self.round_trip and self.sensitivity >= SENSITIVITY

    def __str__(self) -> str:
        difference = f'relative difference {self.error:.1e}'
        if not self.round_trip:
            return f'NOT VALID (a round trip changes weights; {difference})'
        if self.error > TOLERANCE:
            return f'NOT VALID ({difference})'
        if self.sensitivity < SENSITIVITY:
            return f'NOT PROVEN (the outputs hardly depend on the inputs, by {self.sensitivity:.1e}; {difference})'
        return f'{"exact" if self.kind == "exact" else "exact but for norms over more channels"} ({difference})'


def verify(
    weight_map: WeightMap,
    input_size: Sequence[int] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Verdict:
    """Check that the motivated model contains the base model as a map describes it.

    In copies of both models the base model gets random float64 weights, and batch-norm statistics of the inputs, so
    that every layer affects the outputs; the extension is filled with zeros. After a transfer base -> motivated the
    motivated model must compute the base model's outputs. Then the base model is filled with zeros, and a transfer
    motivated -> base must restore every weight bit for bit. Matching shapes would prove nothing: a leading slice of
    a fused ``qkv`` has the right shape and puts rows of K into Q.

    Images are reduced in size as long as all parameters of the base model affect its outputs.

    Statistics over more channels (a wider LayerNorm) differ under any map. If there are such norms and the outputs
    differ, they are reduced to their scale and shift in both models, and everything else is compared.

    Args:
        weight_map: The map; its models do not change.
        input_size: Image size (C, H, W); by default the inputs are those of :attr:`WeightMap.example`.
        seed: Seed of weights and inputs. Default: 0.
        progress: Called with a description of each stage before it begins.
    """
    report = progress or (lambda stage: None)
    models = [weight_map.model('base'), weight_map.model('motivated')]
    example = weight_map.example if input_size is None else find_example(models[0], input_size)
    report('looking for smaller images that depend on all parameters')
    smallest = smallest_telling(models, example)
    copied, example = copy.deepcopy((weight_map, smallest))
    grown = _grown_norms(copied)
    report(f'transferring and comparing, on {smallest}')
    with unfused_attention():
        if not grown:
            return Verdict(*_compare(_in_float64(copied), example, seed), 'exact')
        if _are_close(copied, example, seed):  # otherwise a comparison in float64 would fail too
            verdict = Verdict(*_compare(_in_float64(copied), example, seed), 'exact')
            if verdict.is_valid:
                return verdict
        for names in grown:
            for model, name in zip((copied.model('base'), copied.model('motivated')), names, strict=True):
                parent, _, child = name.rpartition('.')
                setattr(model.get_submodule(parent), child, _ScaleAndShift(model.get_submodule(name)))
        report(f'comparing all but norms over more channels, on {smallest}')
        return Verdict(*_compare(_in_float64(copied), example, seed, gain=0.5), 'norms apart')


def _in_float64(weight_map: WeightMap) -> WeightMap:
    for model in (weight_map.model('base'), weight_map.model('motivated')):
        model.double()
    return weight_map


def _grown_norms(weight_map: WeightMap) -> list[tuple[str, str]]:
    """Return both names of each norm that takes its statistics over more channels in the motivated model."""
    grown = []
    for pair in weight_map.pairs:
        names = (pair.base.rpartition('.')[0], pair.motivated.rpartition('.')[0])
        norms = [
            weight_map.model('base').get_submodule(names[0]),
            weight_map.model('motivated').get_submodule(names[1]),
        ]
        if pair.base.endswith('.weight') and all(map(takes_channel_statistics, norms)):
            ours, theirs = (_normalised(norm) for norm in norms)
            if ours != theirs:
                grown.append(names)
    return grown


def _normalised(norm: Any) -> int:
    """Return the number of channels, or of channels and positions, over which a norm takes statistics."""
    return norm.weight.numel() // (norm.num_groups if isinstance(norm, nn.GroupNorm) else 1)


class _Comparison(NamedTuple):
    error: float
    round_trip: bool
    sensitivity: float


@torch.no_grad()
def _are_close(weight_map: WeightMap, example: Example, seed: int) -> bool:
    """Whether both models' outputs differ by no more than rounding in float32."""
    inputs = _transferred(weight_map, example, seed, gain=2**0.5)
    base, motivated = (outputs(weight_map.model(name), inputs) for name in ('base', 'motivated'))
    return _relative(base - motivated, base) < _CLOSE


@torch.no_grad()
def _compare(weight_map: WeightMap, example: Example, seed: int, gain: float = 2**0.5) -> _Comparison:
    """Transfer base -> motivated, compare outputs, zero the base model, transfer back and compare weights.

    The arguments are those of :func:`_transferred`; the models of the map change.
    """
    inputs = _transferred(weight_map, example, seed, gain)
    ours = weight_map.tensors('base')
    before = {name: tensor.clone() for name, tensor in ours.items()}
    base, motivated = (outputs(weight_map.model(name), inputs) for name in ('base', 'motivated'))
    for tensor in ours.values():
        tensor.zero_()
    weight_map.transfer('motivated', statistics=True)
    round_trip = all(torch.equal(tensor, before[name]) for name, tensor in ours.items())
    sensitivity = (base - base.mean(dim=0)).abs().max() / base.abs().max()
    return _Comparison(_relative(base - motivated, base), round_trip, float(sensitivity.nan_to_num(0.0)))


def _relative(difference: Tensor, output: Tensor) -> float:
    """Return the largest difference relative to the largest output, infinity instead of NaN."""
    return float((difference.abs().max() / output.abs().max()).nan_to_num(torch.inf))


def _transferred(weight_map: WeightMap, example: Example, seed: int, gain: float) -> dict[str, Any]:
    """Randomise the base model, zero the extension, transfer base -> motivated, and return inputs.

    Args:
        weight_map: The map, whose models change.
        example: The source of the inputs.
        seed: Seed of weights and inputs.
        gain: Gain of the weights. Without norms the residual stream grows from block to block; a lower gain keeps
            softmax from saturating.
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
    """Return the number of samples: two show that outputs depend on inputs; batch-norm statistics need more."""
    return 4 if any(isinstance(module, _BatchNorm) for module in model.modules()) else 2


class _ScaleAndShift(nn.Module):
    """A norm reduced to its scale and shift."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, getattr(norm, 'bias', None), getattr(norm, 'eps', 0.0)
        self.norm = [norm]  # in a list, so that its parameters are not registered twice

    def forward(self, inputs: Tensor) -> Tensor:
        """Scale and shift the channels."""
        shape = _shape_of_scale(self.norm[0], inputs)
        for parameter, combine in ((self.weight, torch.mul), (self.bias, torch.add)):
            if parameter is not None:
                inputs = combine(inputs, parameter.view(shape))
        return inputs


def _shape_of_scale(norm: Any, inputs: Tensor) -> Sequence[int]:
    """Return the shape in which a norm's weight is multiplied with inputs, whose channels may be first or last.

    The channel dimension is found with a NaN in the weight, which makes exactly one channel NaN for any inputs.
    """
    if norm.weight.ndim > 1:  # over channels and positions, which are last
        return norm.weight.shape
    first = torch.arange(len(norm.weight), device=inputs.device) == 0
    weight = norm.weight.masked_fill(first, torch.nan)
    few = inputs[tuple(slice(None if size == len(first) else 1) for size in inputs.shape)]
    marked = torch.func.functional_call(norm, {'weight': weight}, few).isnan()
    for axis in range(1, inputs.ndim):
        if torch.equal(marked.movedim(axis, 0).flatten(1).any(dim=1), first):
            return [-1 if place == axis else 1 for place in range(inputs.ndim)]
    raise AssertionError(f'{type(norm).__name__} scales no axis of inputs of shape {tuple(inputs.shape)}')
