"""Smaller images on which a network shows as much of itself as on its own."""

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from motivation.utils.random_state import preserved_random_state
from motivation.utils.training_mode import evaluation_mode
from motivation.weight_maps.random_weights import randomise, take_statistics
from motivation.weight_maps.tracing.rules import flat

# A network for fewer pixels a side is quick enough as it is.
_SMALLEST = 64

_STEPS = (1, 2, 3, 4)

_IMAGES = 2

# Share of channels that rectifiers may silence by chance, on images of any size.
_SILENT = 0.01


def outputs(model: nn.Module, images: Tensor) -> Tensor:
    """All outputs of a model, (N, outputs)."""
    output = model(images)
    tensors = flat(list(output.values()) if isinstance(output, dict) else [output])
    return torch.cat([tensor.reshape(len(images), -1) for tensor in tensors], dim=1)


def smallest_running(models: Sequence[nn.Module], input_size: Sequence[int]) -> tuple[int, ...]:
    """The smallest size, of 64 pixels a side or a small multiple, on which models run.

    Args:
        models: In the state they are in; left untouched.
        input_size: The size they are made for, (C, H, W), which is returned if they run on no smaller.
    """
    return next((size for size in _smaller(input_size) if _run(models, size)), tuple(input_size))


def smallest_telling(models: Sequence[nn.Module], input_size: Sequence[int]) -> tuple[int, ...]:
    """The smallest such size on which all parts of the first model's parameters have a say in its outputs.

    A map of one pixel would leave a convolution of 3 x 3 with its centre alone: whatever stood in the
    other eight entries, nothing would show. So the gradient of the outputs is taken, and of no parameter
    may it be zero all over a slice: an input or output channel, a place in a kernel, a position of a
    table. Indices of weight maps are made of slices. Rectifiers silence a channel now and then, on
    images of any size; one in a hundred may be.

    Args:
        models: The model that is looked at, and others that must run too; left untouched.
        input_size: As of :func:`smallest_running`.
    """
    model = copy.deepcopy(models[0])
    return next(
        (size for size in _smaller(input_size) if _run(models, size) and _all_matter(model, size)), tuple(input_size)
    )


def _smaller(input_size: Sequence[int]) -> Iterator[tuple[int, ...]]:
    channels, *sides = input_size
    for step in _STEPS:
        if 2 * _SMALLEST * step * _SMALLEST * step < sides[0] * sides[1] and min(sides) > _SMALLEST * step:
            yield channels, _SMALLEST * step, _SMALLEST * step


def _images(model: nn.Module, size: Sequence[int]) -> Tensor:
    return torch.randn(_IMAGES, *size, generator=torch.Generator().manual_seed(0)).to(next(model.parameters()))


def _run(models: Sequence[nn.Module], size: Sequence[int]) -> bool:
    try:
        with preserved_random_state(), evaluation_mode(*models), torch.no_grad():
            for model in models:
                model(_images(model, size))
    except Exception:  # a network raises anything for images it does not take
        return False
    return True


def _all_matter(model: nn.Module, size: Sequence[int]) -> bool:
    """Whether the outputs have a gradient to all parts of the parameters that they depend on at all."""
    parameters = [parameter.requires_grad_() for parameter in model.parameters()]
    with preserved_random_state(), evaluation_mode(model), torch.enable_grad():
        torch.manual_seed(0)
        images = _images(model, size)
        with torch.no_grad():  # zeros, such as a last scale of a block, would hide what is before them
            randomise(
                {**dict(model.named_parameters()), **dict(model.named_buffers())}, 2**0.5, torch.default_generator
            )
            take_statistics(model, images)
        found = outputs(model, images)
        gradients = torch.autograd.grad((found * torch.randn_like(found)).sum(), parameters, allow_unused=True)
    return all(gradient is None or _all_slices(gradient) for gradient in gradients)


def _all_slices(gradient: Tensor) -> bool:
    """Whether every slice along every dimension has an entry that is not zero, but for some in a hundred."""
    alive = gradient != 0
    shares = (
        alive.flatten() if alive.ndim < 2 else alive.movedim(dim, 0).flatten(1).any(dim=1) for dim in range(alive.ndim)
    )
    return all(share.float().mean() >= 1 - _SILENT for share in shares)
