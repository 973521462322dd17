"""A weight map found by tracing, for networks that differ in depth and width."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor, nn

from motivation.errors import ConfigError
from motivation.registry import WEIGHT_MAPS
from motivation.utils.arguments import checked
from motivation.utils.example import Example, find_example
from motivation.weight_maps.blocks import Placement, own_tensors, pair_modules
from motivation.weight_maps.index import Index, mesh
from motivation.weight_maps.residual import added_blocks, residual_ends
from motivation.weight_maps.tracing import Space, Trace, trace
from motivation.weight_maps.weight_map import TensorPair, WeightMap

Channels = Literal['leading', 'spread', 'seeded']


@WEIGHT_MAPS.register_module()
class AutoMap(WeightMap):
    """Maps networks that differ in depth, width or both, by tracing how their tensors are connected.

    1. Modules correspond by name and, in a stage that has more blocks, by ``placement``.
    2. Both networks run once on fake inputs. Residual sums, matrix products and norms tie dimensions of tensors
       together into *channel spaces*; reshapes split them (a fused ``qkv`` is 3 x heads x head width).
    3. Corresponding modules must call the same operators with the same settings.
    4. For each channel space that is wider in the motivated model the channels are chosen once, for every layer
       that writes or reads the space.

    Any other difference is an error: number of positions, classes, head width, operators.

    Args:
        base: The base model.
        motivated: The motivated model.
        placement: Where the base blocks of a stage sit, see
            :func:`~motivation.weight_maps.blocks.place_blocks`. Default: ``'leading'``.
        channels: Which channels of a wider space belong to the base model: the ``'leading'`` ones (default); evenly
            ``'spread'`` ones, channel floor(c * motivated / base) for channel c (the uniform selection of Xu et al.,
            arXiv 2311.18823, for weights cut out of a pretrained model); or a fixed random choice, ``'seeded'``.
        seed: Seed of the random choice. Default: 0.
        input_size: Image size that both models take, (C, H, W). By default it, or another kind of input, follows
            from the base model, see :func:`~motivation.utils.example.find_example`.
        example_input: Instead of ``input_size``, a batch of other inputs (N, ...), such as token indices.

    Attributes:
        grown_statistics: Names of the base model's modules that take statistics over channels (such as LayerNorm)
            of which the motivated model has more, so that it cannot compute exactly the base model's function.

    Raises:
        ConfigError: The base model does not fit; the message names the first tensor that does not, and why.

    Example:
        >>> weight_map = dict(type='AutoMap')
        >>> weight_map = dict(type='AutoMap', placement='spread', channels='seeded', seed=1)
    """

    @checked
    def __init__(
        self,
        base: nn.Module,
        motivated: nn.Module,
        placement: Placement = 'leading',
        channels: Channels = 'leading',
        seed: int = 0,
        input_size: Sequence[int] | None = None,
        example_input: Tensor | None = None,
    ) -> None:
        self.placement = placement
        self.channels = channels
        self.seed = seed
        modules = list(pair_modules(base, motivated, placement))
        example = find_example(base, input_size, example_input)
        traces = trace(base, example), trace(motivated, example)
        _compare_operations(*traces, base, motivated, modules)
        matching = _Matching(*traces)
        names = list(_tensor_names(base, modules))
        for pair in names:
            matching.match(*pair)
        matching.choose(channels, seed)
        self.grown_statistics = sorted({name for name, space in traces[0].reduced if matching.grows(space)})
        # Kept for the first trace_motivated, before which nothing changes the model.
        self._traced: tuple[Example, Trace] | None = (example, traces[1])
        super().__init__(base, motivated, [TensorPair(*pair, matching.index(*pair)) for pair in names], example)
        self._check_constants()
        for block in added_blocks(self):
            if not residual_ends(block, traces[1]):
                raise ConfigError(
                    f'the base model does not fit: {block!r}, which the motivated model adds, has no residual path, so '
                    'that it cannot pass on what the base model computes; DepthMap maps it all the same'
                )

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), '_traced': None}

    def trace_motivated(self, example: Example) -> Trace:
        """Return a trace of the motivated model, the first time the one that the map was made from, if it fits."""
        traced, self._traced = self._traced, None
        return traced[1] if traced and traced[0] == example else super().trace_motivated(example)

    def _check_constants(self) -> None:
        """Check that buffers other than running statistics are equal, because they are settings and not weights."""
        base, motivated = self.tensors('base'), self.tensors('motivated')
        for pair in self.pairs:
            ours, theirs = base[pair.base], motivated[pair.motivated]
            is_setting = not isinstance(ours, nn.Parameter) and not pair.is_statistic
            if is_setting and not torch.equal(ours, theirs[mesh(pair.index, theirs.shape)]):
                raise ConfigError(
                    f'the base model does not fit: the buffer {pair.base!r} has different values in the two models; '
                    'a transfer would overwrite one with the other'
                )

    def __repr__(self) -> str:
        seed = f', seed={self.seed}' if self.channels == 'seeded' else ''
        return f'AutoMap(placement={self.placement!r}, channels={self.channels!r}{seed})'


def _tensor_names(base: nn.Module, modules: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for base_name, motivated_name in modules:
        for name in own_tensors(base.get_submodule(base_name)):
            yield f'{base_name}.{name}'.lstrip('.'), f'{motivated_name}.{name}'.lstrip('.')


def _compare_operations(
    base: Trace, motivated: Trace, base_model: nn.Module, motivated_model: nn.Module, modules: Sequence[tuple[str, str]]
) -> None:
    """Check that corresponding modules call the same operators."""
    ours, theirs = _operations(base, base_model), _operations(motivated, motivated_model)
    for base_name, motivated_name in modules:
        both = ours[base_name], theirs[motivated_name]
        if both[0] == both[1]:
            continue
        place = next(i for i, (left, right) in enumerate(zip_longest(*both)) if left != right)
        left, right = (operations[place] if place < len(operations) else 'nothing' for operations in both)
        raise ConfigError(
            f'the base model does not fit: step {place + 1} of {base_name or "the network"!r} is {left} in the base '
            f'model, and of its counterpart {motivated_name or "the network"!r} {right} in the motivated model; '
            'only depth and the number of channels may differ'
        )


def _operations(run: Trace, model: nn.Module) -> dict[str, list[str]]:
    """Return the operators that each module with tensors calls, including those of its children without tensors."""
    holders = {'', *(key[:end] for key in model.state_dict() for end, letter in enumerate(key) if letter == '.')}
    result = defaultdict(list)
    for name, operation in run.operations:
        while name and name not in holders:
            name = name.rpartition('.')[0]
        result[name].append(operation)
    return result


class _Matching:
    """Matches the channel spaces of two networks and chooses the channels of each."""

    def __init__(self, base: Trace, motivated: Trace) -> None:
        self.base = base
        self.motivated = motivated
        # Leaves of both networks that correspond, directly or indirectly, form one group.
        self._group: dict[Space, list[Space]] = {}
        self._owner: dict[Space, Literal['base', 'motivated']] = {}
        self._chosen: dict[Space, Sequence[int]] = {}

    def match(self, base_name: str, motivated_name: str) -> None:
        """Match the dimensions of a base tensor and of its image."""
        ours, theirs = self.base.spaces[base_name], self.motivated.spaces[motivated_name]
        if len(ours) != len(theirs):
            shapes = (tuple(space.size for space in spaces) for spaces in (ours, theirs))
            self._refuse(base_name, 'it is {} in the base and {} in the motivated model'.format(*shapes))
        for dim, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            self._match_spaces(one, other, base_name, dim)

    def _match_spaces(self, one: Space, other: Space, name: str, dim: int) -> None:
        one, other = one.find(), other.find()
        sizes = f'dimension {dim} is {one.size} in the base and {other.size} in the motivated model'
        fixed = one.is_fixed or other.is_fixed
        if one.size != other.size and fixed:
            reason = next(leaf.fixed for space in (one, other) for leaf in space.leaves() if leaf.fixed)
            self._refuse(name, f'{sizes}, and must be the same in both ({reason})')
        if one.kind != other.kind or len(one.parts) != len(other.parts):
            if one.size != other.size:
                self._refuse(name, f'{sizes}, with their channels arranged differently')
            for owner, space in (('base', one), ('motivated', other)):
                space.fix('other arrangement')
                for leaf in space.leaves():
                    self._join(leaf, leaf, owner)
            return
        for part, image in zip(one.parts, other.parts, strict=True):
            self._match_spaces(part, image, name, dim)
        if one.kind is not None:
            return
        if one.size > other.size:
            self._refuse(
                name,
                f'dimension {dim} is {one.size} in the base and only {other.size} in the motivated model; '
                'name the wider network as model.motivated',
            )
        self._join(one, one, 'base')
        self._join(other, other, 'motivated')
        self._join(one, other, 'motivated')
        widths: dict[str, set[int]] = {'base': set(), 'motivated': set()}
        for leaf in self._group[one]:
            widths[self._owner[leaf]].add(leaf.size)
        if any(len(each) > 1 for each in widths.values()):
            self._refuse(
                name,
                f'dimension {dim} is tied to dimensions with other numbers of channels '
                f'({", ".join(f"{model}: {sorted(each)}" for model, each in widths.items())})',
            )

    def _join(self, one: Space, other: Space, owner: Any) -> None:
        self._owner.setdefault(other, owner)
        ours, theirs = self._group.setdefault(one, [one]), self._group.setdefault(other, [other])
        if ours is not theirs:
            ours += theirs
            for leaf in theirs:
                self._group[leaf] = ours

    def choose(self, channels: Channels, seed: int) -> None:
        """Choose the channels of every group."""
        generator = random.Random(seed)
        for group in {id(group): group for group in self._group.values()}.values():
            width = min(leaf.size for leaf in group)
            wider = max(leaf.size for leaf in group)
            chosen: Sequence[int] = range(width)
            if width < wider and channels != 'leading':
                chosen = (
                    sorted(generator.sample(range(wider), width))
                    if channels == 'seeded'
                    else [channel * wider // width for channel in range(width)]
                )
            for leaf in group:
                self._chosen[leaf] = chosen

    def grows(self, space: Space) -> bool:
        """Whether a space of the base model is wider in the motivated model."""
        return any(leaf.size > part.size for part in space.leaves() for leaf in self._group.get(part, ()))

    def index(self, base_name: str, motivated_name: str) -> Index:
        """Return the index of a base tensor in its image."""
        ours, theirs = self.base.spaces[base_name], self.motivated.spaces[motivated_name]
        index = tuple(
            None if one.size == other.size and list(positions) == list(range(other.size)) else tuple(positions)
            for one, other, positions in zip(ours, theirs, map(self._positions, theirs), strict=True)
        )
        return () if all(positions is None for positions in index) else index

    def _positions(self, space: Space) -> list[int]:
        """Return the positions of the base model's channels in a space of the motivated model."""
        space = space.find()
        if space.kind is None:
            return list(self._chosen.get(space, range(space.size)))
        if space.kind == 'sum':
            result, start = [], 0
            for part in space.parts:
                result += [start + position for position in self._positions(part)]
                start += part.size
            return result
        result = [0]
        for part in space.parts:
            inner = self._positions(part)
            result = [outer * part.size + position for outer in result for position in inner]
        return result

    def _refuse(self, name: str, reason: str) -> NoReturn:
        raise ConfigError(f'the base model does not fit: of {name!r}, {reason}')
