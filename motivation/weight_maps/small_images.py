"""Smaller images on which a network shows as much of itself as on its own."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from motivation.utils.batches import run_network
from motivation.utils.example import Example
from motivation.utils.random_state import preserved_random_state
from motivation.utils.training_mode import evaluation_mode
from motivation.weight_maps.random_weights import randomise, take_statistics
from motivation.weight_maps.tracing.rules import flat

_SAMPLES = 2

# Share of channels that rectifiers may silence by chance, on images of any size.
_SILENT = 0.01


def outputs(model: nn.Module, inputs: Mapping[str, Any]) -> Tensor:
    """Return all outputs of a model, (N, outputs)."""
    output = run_network(model, inputs)
    tensors = list(flat(list(output.values()) if isinstance(output, dict) else [output]))
    return torch.cat([tensor.reshape(len(tensors[0]), -1) for tensor in tensors], dim=1)


def smallest_running(models: Sequence[nn.Module], example: Example) -> Example:
    """Return the smallest images, of 64 pixels a side or a small multiple, on which models run.

    Args:
        models: In the state they are in; left untouched.
        example: What they are made for, which is returned if they run on no smaller, or if it is no images.
    """
    return next((smaller for smaller in example.smaller() if _run(models, smaller)), example)


def smallest_telling(models: Sequence[nn.Module], example: Example) -> Example:
    """Return the smallest such images on which all parts of the first model's parameters have a say in its outputs.

    A map of one pixel would leave a convolution of 3 x 3 with its centre alone: whatever stood in the
    other eight entries, nothing would show. So the gradient of the outputs is taken, and of no parameter
    may it be zero all over a slice: an input or output channel, a place in a kernel, a position of a
    table. Indices of weight maps are made of slices. Rectifiers silence a channel now and then, on
    images of any size; one in a hundred may be.

    Args:
        models: The model that is looked at, and others that must run too; left untouched.
        example: As of :func:`smallest_running`.
    """
    model = copy.deepcopy(models[0])
    return next(
        (smaller for smaller in example.smaller() if _run(models, smaller) and _all_matter(model, smaller)), example
    )


def _run(models: Sequence[nn.Module], example: Example) -> bool:
    try:
        with preserved_random_state(), evaluation_mode(*models), torch.no_grad():
            for model in models:
                run_network(model, example.inputs(model, _SAMPLES))
    except Exception:  # a network raises anything for images it does not take
        return False
    return True


def _all_matter(model: nn.Module, example: Example) -> bool:
    """Whether the outputs have a gradient to all parts of the parameters that they depend on at all."""
    parameters = [parameter.requires_grad_() for parameter in model.parameters()]
    with preserved_random_state(), evaluation_mode(model), torch.enable_grad():
        torch.manual_seed(0)
        inputs = example.inputs(model, _SAMPLES)
        with torch.no_grad():  # zeros, such as a last scale of a block, would hide what is before them
            randomise(
                {**dict(model.named_parameters()), **dict(model.named_buffers())}, 2**0.5, torch.default_generator
            )
            take_statistics(model, inputs)
        found = outputs(model, inputs)
        gradients = torch.autograd.grad((found * torch.randn_like(found)).sum(), parameters, allow_unused=True)
    return all(gradient is None or _all_slices(gradient) for gradient in gradients)


def _all_slices(gradient: Tensor) -> bool:
    """Whether every slice along every dimension has an entry that is not zero, but for some in a hundred."""
    alive = gradient != 0
    shares = (
        alive.flatten() if alive.ndim < 2 else alive.movedim(dim, 0).flatten(1).any(dim=1) for dim in range(alive.ndim)
    )
    return all(share.float().mean() >= 1 - _SILENT for share in shares)
