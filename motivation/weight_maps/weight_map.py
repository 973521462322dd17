"""The base class of weight maps: the correspondence of tensors, and the transfer along it."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from motivation.errors import ConfigError
from motivation.structures import ModelName
from motivation.utils.example import Example, find_example
from motivation.weight_maps.copy_plan import CopyPlan
from motivation.weight_maps.index import Index, format_positions, mesh
from motivation.weight_maps.tracing import Trace, trace

# Running statistics of normalisation layers, by torch's names, which all such layers of timm use too.
_STATISTICS = {'running_mean', 'running_var', 'num_batches_tracked'}


@dataclass(frozen=True)
class TensorPair:
    """A tensor of the base model and its image in the motivated model, by state-dict name.

    Attributes:
        base: Name of the base tensor.
        motivated: Name of the motivated tensor.
        index: For each dimension of the motivated tensor the positions of the image, ``None`` for the whole
            dimension; an empty tuple (default) for the whole tensor.
    """

    base: str
    motivated: str
    index: Index = ()

    @property
    def is_statistic(self) -> bool:
        """Whether the tensor is a running statistic of a normalisation layer."""
        return self.base.rpartition('.')[2] in _STATISTICS

    def __deepcopy__(self, memo: dict[int, Any]) -> 'TensorPair':
        return self  # immutable, with up to thousands of positions


class WeightMap:
    """Maps every base tensor to its image in the motivated model, and transfers tensors between the models.

    Tensors are the parameters and persistent buffers of both models. The extension consists of all entries of the
    motivated model's parameters outside every image.

    Args:
        base: The base model.
        motivated: The motivated model, which contains the base model.
        pairs: Names of a base tensor and of its image in the state dicts and, if the motivated tensor is larger, the
            index of the image in it.
        example: The source of inputs of both models; ``None`` (default) for
            :func:`~motivation.utils.example.find_example` of the base model.

    Attributes:
        pairs: The tensor pairs.

    Raises:
        ConfigError: A base tensor has no image or several, two base tensors have the same image, a name does not
            exist, shapes do not match, or only one of two paired tensors is frozen or tied to another.
    """

    def __init__(
        self,
        base: nn.Module,
        motivated: nn.Module,
        pairs: Iterable[TensorPair | Sequence[Any]],
        example: Example | None = None,
    ) -> None:
        self._example = example
        self._modules: dict[ModelName, nn.Module] = {'base': base, 'motivated': motivated}
        self.pairs = tuple(pair if isinstance(pair, TensorPair) else TensorPair(*pair) for pair in pairs)
        # By whether statistics are transferred: the modules that hold the tensors, and the views to copy along.
        self._owners: dict[bool, list[tuple[tuple[nn.Module, str], tuple[nn.Module, str], Index]]] = {}
        self._plans: dict[bool, CopyPlan] = {}
        self._validate()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_owners': {}, '_plans': {}}  # copied views would no longer share memory

    def transfer(self, source: ModelName, statistics: bool = False) -> None:
        """Copy every mapped tensor of one model to the other.

        Args:
            source: Name of the model copied from.
            statistics: Whether to copy running statistics of normalisation layers too. Default: ``False``.
        """
        if statistics not in self._owners:
            self._owners[statistics] = [
                (
                    _owner(self._modules['base'], pair.base),
                    _owner(self._modules['motivated'], pair.motivated),
                    pair.index,
                )
                for pair in self.pairs
                if statistics or not pair.is_statistic
            ]
        pairs = [(_tensor(*base), _tensor(*motivated), index) for base, motivated, index in self._owners[statistics]]
        plan = self._plans.get(statistics)
        if plan is None or not plan.fits(pairs):
            plan = self._plans[statistics] = CopyPlan(pairs)
        plan.copy(source)

    def look_up_tensors_anew(self) -> None:
        """Drop references to the modules that hold the tensors; call it after replacing modules under their names."""
        self._owners.clear()
        self._plans.clear()

    def model(self, model: ModelName) -> nn.Module:
        """Return one of the two models."""
        return self._modules[model]

    def tensors(self, model: ModelName) -> dict[str, Tensor]:
        """Return the parameters and persistent buffers of one model, by state-dict name."""
        state = self._modules[model].state_dict(keep_vars=True)
        return {
            name: value
            for name, value in state.items()
            if isinstance(value, Tensor) and not name.endswith('_extra_state')
        }

    @property
    def example(self) -> Example:
        """The source of inputs of both models.

        Raises:
            ConfigError: The inputs of the base model are not known.
        """
        return self._example or find_example(self.model('base'))

    def trace_motivated(self, example: Example) -> Trace:
        """Return a trace of the motivated model on example inputs."""
        return trace(self.model('motivated'), example)

    def extension(self) -> dict[str, Tensor]:
        """Return the extension: for each parameter with entries outside every image, a mask that is True there."""
        tensors = self.tensors('motivated')
        masks = {
            name: torch.ones(tensor.shape, dtype=torch.bool)
            for name, tensor in tensors.items()
            if isinstance(tensor, nn.Parameter)
        }
        for pair in self.pairs:
            if pair.motivated in masks:
                masks[pair.motivated][mesh(pair.index, masks[pair.motivated].shape)] = False
        return {name: mask for name, mask in masks.items() if mask.any()}

    @property
    def extension_size(self) -> int:
        """Number of entries in the extension."""
        tensors, shared = self.tensors('base'), {pair.motivated: pair.base for pair in self.pairs}
        return sum(
            tensor.numel() - (tensors[shared[name]].numel() if name in shared else 0)
            for name, tensor in self.tensors('motivated').items()
            if isinstance(tensor, nn.Parameter)
        )

    @property
    def coverage(self) -> float:
        """Share of the motivated model's parameters, by entries, that belong to the base model, 0 to 1."""
        size = sum(t.numel() for t in self.tensors('motivated').values() if isinstance(t, nn.Parameter))
        return 1 - self.extension_size / size

    def save(self, path: str | Path) -> None:
        """Write the map to a JSON file, which :class:`~motivation.weight_maps.ExplicitMap` reads."""
        pairs = [
            {'base': pair.base, 'motivated': pair.motivated}
            | ({} if not pair.index else {'index': [format_positions(positions) for positions in pair.index]})
            for pair in self.pairs
        ]
        lines = ',\n'.join(f'  {json.dumps(pair)}' for pair in pairs)
        Path(path).write_text(f'{{"pairs": [\n{lines}\n]}}\n')

    def _validate(self) -> None:
        base, motivated = self.tensors('base'), self.tensors('motivated')
        for pair in self.pairs:
            for model, tensors in (('base', base), ('motivated', motivated)):
                if getattr(pair, model) not in tensors:
                    raise ConfigError(
                        f'weight_map names {getattr(pair, model)!r}, which the {model} model does not have'
                    )
            _check_shapes(pair, base[pair.base], motivated[pair.motivated])
            frozen = [not tensor.requires_grad for tensor in (base[pair.base], motivated[pair.motivated])]
            if isinstance(base[pair.base], nn.Parameter) and frozen[0] != frozen[1]:
                raise ConfigError(
                    f'{pair.base!r} is frozen in the {"base" if frozen[0] else "motivated"} model and its counterpart '
                    f'{pair.motivated!r} is not; training one would change the other, so freeze both or neither'
                )
            _check_constants(pair, base[pair.base], motivated[pair.motivated])
        for model in ('base', 'motivated') if self.pairs else ():
            name, count = Counter(getattr(pair, model) for pair in self.pairs).most_common(1)[0]
            if count > 1:
                raise ConfigError(
                    f'weight_map names {name!r} of the {model} model {count} times; '
                    'every base tensor has one image and no image serves two'
                )
        unmapped = base.keys() - {pair.base for pair in self.pairs}
        if unmapped:
            raise ConfigError(
                f'weight_map gives {min(unmapped)!r} of the base model no image '
                f'({len(unmapped)} of {len(base)} tensors have none); every base tensor needs one'
            )
        self._validate_ties(base, motivated)

    def _validate_ties(self, base: dict[str, Tensor], motivated: dict[str, Tensor]) -> None:
        """Check that tensors tied in one model are tied in the other, with the same index."""
        first: dict[tuple[str, int], TensorPair] = {}
        for pair in self.pairs:
            for model, tensor in (('base', base[pair.base]), ('motivated', motivated[pair.motivated])):
                twin = first.setdefault((model, id(tensor)), pair)
                same = base[twin.base] is base[pair.base] and motivated[twin.motivated] is motivated[pair.motivated]
                if not same or twin.index != pair.index:
                    raise ConfigError(
                        f'{getattr(twin, model)!r} and {getattr(pair, model)!r} are one tied tensor in the {model} model '
                        'but not in the other; tie both or neither'
                    )


def _owner(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Return the module that holds a tensor, and the tensor's name in it."""
    path, _, name = name.rpartition('.')
    return module.get_submodule(path), name


def _tensor(owner: nn.Module, name: str) -> Tensor:
    tensor = owner._parameters.get(name)
    return owner._buffers[name] if tensor is None else tensor  # type: ignore[return-value]


def _check_shapes(pair: TensorPair, base: Tensor, motivated: Tensor) -> None:
    if not pair.index:
        if base.shape != motivated.shape:
            raise ConfigError(
                f'weight_map pairs {pair.base!r} of the base model, {tuple(base.shape)}, with {pair.motivated!r} of the '
                f'motivated model, {tuple(motivated.shape)}, without an index; give an index, or pair tensors of '
                'equal shapes'
            )
        return
    image = tuple(
        size if positions is None else len(positions)
        for positions, size in zip(pair.index, motivated.shape, strict=False)
    )
    if len(pair.index) != motivated.ndim or image != tuple(base.shape):
        raise ConfigError(
            f'weight_map pairs {pair.base!r} of the base model, {tuple(base.shape)}, with the entries '
            f'[{" ; ".join(map(format_positions, pair.index))}] of {pair.motivated!r} of the motivated model, '
            f'{tuple(motivated.shape)}, which are {image}; the index must give the shape of the base tensor'
        )
    for positions, size in zip(pair.index, motivated.shape, strict=True):
        if positions is not None and (
            len(set(positions)) < len(positions) or not 0 <= min(positions) <= max(positions) < size
        ):
            raise ConfigError(
                f'weight_map takes the entries {format_positions(positions)} of {pair.motivated!r}, which has '
                f'{size}; each must exist and be taken once'
            )


def _check_constants(pair: TensorPair, base: Tensor, motivated: Tensor) -> None:
    """Check that integer buffers are equal, because they are constants (such as relative position indices)."""
    if base.is_floating_point() or pair.is_statistic or isinstance(base, nn.Parameter):
        return
    image = motivated[mesh(pair.index, motivated.shape)]
    if not torch.equal(base, image):
        raise ConfigError(
            f'{pair.base!r} of the base model and {pair.motivated!r} of the motivated model have different integers; '
            'they are not learned, so the two networks are built differently and do not fit'
        )
