"""The correspondence of tensors, and copying along it."""

from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from motivation.errors import ConfigError

ModelName = Literal['base', 'motivated']

# What normalisation layers accumulate: torch's own names, which every such layer in timm uses too.
_STATISTICS = {'running_mean', 'running_var', 'num_batches_tracked'}


class TensorPair(NamedTuple):
    """A tensor of the base model and its image in the motivated model, by state-dict name."""

    base: str
    motivated: str

    @property
    def is_statistic(self) -> bool:
        """Whether the tensor is a running statistic of a normalisation layer."""
        return self.base.rpartition('.')[2] in _STATISTICS


class WeightMap:
    """Names the image of every base tensor in the motivated model and copies along that correspondence.

    The tensors are the parameters and persistent buffers of both modules. Parameters of the
    motivated model that are nobody's image are its extension.

    Args:
        base: The base model.
        motivated: The motivated model, which contains the base model.
        pairs: Base tensor and motivated tensor, by state-dict name.

    Raises:
        ConfigError: A base tensor has no image or several, a motivated tensor is the image of two,
            a name does not exist, or shapes differ.
    """

    def __init__(self, base: nn.Module, motivated: nn.Module, pairs: Iterable[tuple[str, str]]) -> None:
        self._modules: dict[ModelName, nn.Module] = {'base': base, 'motivated': motivated}
        self.pairs = tuple(TensorPair(*pair) for pair in pairs)
        self._validate()

    def transfer(self, source: ModelName, statistics: bool = False) -> None:
        """Copy every mapped tensor of one model into the other.

        Args:
            source: The model copied from.
            statistics: Whether running statistics of normalisation layers travel too.
        """
        target: ModelName = 'motivated' if source == 'base' else 'base'
        read, written = self._tensors(source), self._tensors(target)
        pairs = [pair for pair in self.pairs if statistics or not pair.is_statistic]
        with torch.no_grad():
            torch._foreach_copy_(
                [written[getattr(pair, target)] for pair in pairs],
                [read[getattr(pair, source)] for pair in pairs],
            )

    def extension(self) -> dict[str, nn.Parameter]:
        """Parameters of the motivated model outside the image of the base model, by name."""
        images = {pair.motivated for pair in self.pairs}
        return {
            name: tensor
            for name, tensor in self._tensors('motivated').items()
            if name not in images and isinstance(tensor, nn.Parameter)
        }

    def _tensors(self, model: ModelName) -> dict[str, Tensor]:
        state = self._modules[model].state_dict(keep_vars=True)
        return {name: value for name, value in state.items() if isinstance(value, Tensor)}

    def _validate(self) -> None:
        base, motivated = self._tensors('base'), self._tensors('motivated')
        for pair in self.pairs:
            for model, tensors in (('base', base), ('motivated', motivated)):
                if getattr(pair, model) not in tensors:
                    raise ConfigError(f'weight_map names {getattr(pair, model)!r}, which the {model} model lacks')
            shapes = tuple(base[pair.base].shape), tuple(motivated[pair.motivated].shape)
            if shapes[0] != shapes[1]:
                raise ConfigError(
                    f'weight_map pairs {pair.base!r} of the base model, {shapes[0]}, with {pair.motivated!r} '
                    f'of the motivated model, {shapes[1]}; paired tensors must have equal shapes'
                )
        for model in ('base', 'motivated'):
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
