"""Example inputs of a network, for everything that runs it without data.

A model whose inputs are not images defines them with a method that returns a batch like the data loader's::

    def example_batch(self, samples: int) -> dict[str, Any]:
        return {
            'inputs': torch.randint(self.vocabulary, (samples, self.length)),
            'targets': torch.randint(self.num_classes, (samples,)),
        }

It may use torch's random numbers, whose state is restored; samples should differ. The batch passes through the model's
``data_preprocessor``, if any. If the image size of a network is known, random images are used instead, see
:func:`find_example`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map

from motivation.errors import ArgumentError, ConfigError
from motivation.utils.batches import network_inputs, noun_of, sample_text
from motivation.utils.random_state import preserved_random_state

SMALLEST = 64  # pixels per side; smaller images would save little time

_STEPS = (1, 2, 3, 4)


class Example(ABC):
    """A source of inputs of a network.

    Attributes:
        way_out: How to fix the inputs if a network does not run on them, for error messages.
    """

    way_out: str

    @abstractmethod
    def __str__(self) -> str:
        """Describe the inputs for a message."""

    @abstractmethod
    def _draw(self, model: nn.Module, samples: int) -> dict[str, Any]:
        """Return random inputs of a model."""

    def inputs(self, model: nn.Module, samples: int, seed: int = 0) -> dict[str, Any]:
        """Return random inputs on the device of a model, floats with its dtype.

        Args:
            model: The model, to be called with :func:`~motivation.utils.batches.run_network`.
            samples: Number of samples.
            seed: Random seed. Default: 0.
        """
        like = next(model.parameters())

        def fit(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            return value.to(like) if value.is_floating_point() else value.to(like.device)

        with preserved_random_state(), torch.no_grad():
            torch.manual_seed(seed)
            return tree_map(fit, self._draw(model, samples))

    def fake_inputs(self, model: nn.Module, samples: int, fake: FakeTensorMode) -> dict[str, Any]:
        """Return such inputs as fake tensors."""
        return tree_map(
            lambda value: fake.from_tensor(value) if isinstance(value, Tensor) else value, self.inputs(model, samples)
        )

    def smaller(self) -> 'Iterator[Example]':
        """Yield examples with smaller images, the smallest first; none if images are small or inputs are no images."""
        return iter(())


@dataclass(frozen=True)
class ImageExample(Example):
    """Images with normally distributed values.

    Attributes:
        size: (C, H, W).
    """

    size: tuple[int, ...]
    way_out = 'give weight_map.input_size, (channels, height, width), as the network needs it'

    def __str__(self) -> str:
        return f'images of {self.size}'

    def _draw(self, model: nn.Module, samples: int) -> dict[str, Any]:
        return {'inputs': torch.randn(samples, *self.size)}

    def fake_inputs(self, model: nn.Module, samples: int, fake: FakeTensorMode) -> dict[str, Any]:
        like = next(model.parameters())
        with fake:  # large images then need no memory
            return {'inputs': torch.empty(samples, *self.size, dtype=like.dtype, device=like.device)}

    def smaller(self) -> Iterator[Example]:
        yield from (ImageExample((self.size[0], *sides)) for sides in _smaller_sides(self.size[1:]))


@dataclass(frozen=True)
class BatchExample(Example):
    """Batches that a model's ``example_batch`` returns.

    Attributes:
        source: The model.
    """

    source: Any
    way_out = 'fix its example_batch, which must return inputs that the network accepts'

    def __str__(self) -> str:
        with preserved_random_state():
            return sample_text(self._batch(1))

    def _batch(self, samples: int) -> Mapping[str, Any]:
        batch = self.source.example_batch(samples)
        if not isinstance(batch, Mapping):
            raise ConfigError(
                f'{type(self.source).__name__}.example_batch({samples}) returns a {type(batch).__name__}; it must return a '
                "dict, such as {'inputs': Tensor, 'targets': Tensor}"
            )
        return batch

    def _draw(self, model: nn.Module, samples: int) -> dict[str, Any]:
        return network_inputs(model, self._batch(samples))


@dataclass(frozen=True, eq=False)
class TensorExample(Example):
    """Inputs with the shape of a tensor: normally distributed, or random choices of its integers.

    Attributes:
        tensor: A batch of any size, (N, ...).
    """

    tensor: Tensor
    way_out = 'give AutoMap an example_input that the network accepts'

    def __str__(self) -> str:
        return sample_text({'inputs': self.tensor})

    def _draw(self, model: nn.Module, samples: int) -> dict[str, Any]:
        shape = samples, *self.tensor.shape[1:]
        if self.tensor.is_floating_point():
            return {'inputs': torch.randn(shape)}
        known = self.tensor.flatten().cpu()
        return {'inputs': known[torch.randint(len(known), shape)]}


def find_example(model: Any, input_size: Sequence[int] | None = None, example_input: Tensor | None = None) -> Example:
    """Return the source of a network's inputs.

    It is, in this order, the argument that is given, images of the network's ``input_size``, its ``example_batch``, or
    images of the size that :func:`find_input_size` returns.

    Args:
        model: The network.
        input_size: Image size (C, H, W).
        example_input: A batch of inputs (N, ...).

    Raises:
        ConfigError: The inputs of the network are not known.
        ArgumentError: Both arguments are given, or one is invalid.
    """
    if input_size is not None and example_input is not None:
        raise ArgumentError('example_input', 'and input_size are both given; give one of the two')
    if example_input is not None:
        if not isinstance(example_input, Tensor) or example_input.ndim == 0 or example_input.numel() == 0:
            raise ArgumentError('example_input', f'must be a tensor of samples, (N, ...), got {example_input!r}')
        return TensorExample(example_input)
    size_is_known = input_size is not None or _is_image_size(getattr(model, 'input_size', None))
    if not size_is_known and callable(getattr(model, 'example_batch', None)):
        return BatchExample(model)
    return ImageExample(find_input_size(model, input_size))


def noun_of_model(model: Any) -> str:
    """Return the name of a sample of a model's data, for a message: ``'image'`` or ``'sample'``."""
    try:
        example = find_example(model)
        return 'image' if isinstance(example, ImageExample) else noun_of(example.inputs(model, 1))
    except Exception:  # an example that is missing or does not run is an error elsewhere
        return 'sample'


def find_input_size(model: Any, given: Sequence[int] | None = None) -> tuple[int, int, int]:
    """Return the image size of a network, (C, H, W).

    It is the given size, the network's ``input_size``, or that of a timm model's ``pretrained_cfg`` and patch embedding.

    Raises:
        ArgumentError: The given size is invalid.
        ConfigError: The image size is not known.
    """
    config = getattr(model, 'pretrained_cfg', None) or {}
    size = given or getattr(model, 'input_size', None) or config.get('input_size')
    if not _is_image_size(size):
        if given:
            raise ArgumentError('input_size', f'must be (channels, height, width), such as (3, 32, 32), got {given!r}')
        raise ConfigError(
            f'the size of the images that {type(model).__name__} takes is not known; '
            'give AutoMap an input_size, or the model an attribute input_size, such as (3, 32, 32); for other inputs, '
            'give the model a method example_batch(samples), or AutoMap an example_input'
        )
    channels, height, width = size
    patches = getattr(getattr(model, 'patch_embed', None), 'img_size', None)
    if patches and not given:
        height, width = patches
    return channels, height, width


def _is_image_size(size: Any) -> TypeGuard[Sequence[int]]:
    is_triple = isinstance(size, (tuple, list)) and len(size) == 3
    return is_triple and all(isinstance(side, int) and side > 0 for side in size)


def _smaller_sides(sides: Sequence[int]) -> Iterator[tuple[int, int]]:
    for side in (SMALLEST * step for step in _STEPS):
        if 2 * side * side < sides[0] * sides[1] and min(sides) > side:
            yield side, side
