"""Smaller images on which the outputs of networks can be compared faster."""

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

_SILENT = 0.01  # share of channels whose gradient ReLUs may make zero by chance, on images of any size


def outputs(model: nn.Module, inputs: Mapping[str, Any]) -> Tensor:
    """Return all outputs of a model, flattened and concatenated to (N, outputs)."""
    output = run_network(model, inputs)
    tensors = list(flat(list(output.values()) if isinstance(output, dict) else [output]))
    return torch.cat([tensor.reshape(len(tensors[0]), -1) for tensor in tensors], dim=1)


def smallest_running(models: Sequence[nn.Module], example: Example) -> Example:
    """Return the smallest images, with sides of 64 pixels or a small multiple, on which models run.

    Args:
        models: The models, which do not change.
        example: The models' own inputs, returned if no smaller images work or if they are not images.
    """
    return next((smaller for smaller in example.smaller() if _run(models, smaller)), example)


def smallest_telling(models: Sequence[nn.Module], example: Example) -> Example:
    """Return the smallest such images on which all slices of the first model's parameters affect its outputs.

    On a feature map of one pixel, for instance, only the centre of a 3 x 3 convolution affects the outputs. So the
    gradient of the outputs with respect to a parameter must not be zero in all of a slice (a channel, a position in
    a kernel, a row of a table), of which the indices of weight maps consist. ReLUs may silence 1 % of the slices.

    Args:
        models: The model to examine, and others that must run too; they do not change.
        example: The models' own inputs, returned if no smaller images work or if they are not images.
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
    except Exception:  # networks raise errors of any type for images that they do not accept
        return False
    return True


def _all_matter(model: nn.Module, example: Example) -> bool:
    """Whether the outputs depend on all slices of the parameters that they depend on at all."""
    parameters = [parameter.requires_grad_() for parameter in model.parameters()]
    with preserved_random_state(), evaluation_mode(model), torch.enable_grad():
        torch.manual_seed(0)
        inputs = example.inputs(model, _SAMPLES)
        with torch.no_grad():  # a zero, such as the last scale of a block, would block the gradient
            randomise(
                {**dict(model.named_parameters()), **dict(model.named_buffers())}, 2**0.5, torch.default_generator
            )
            take_statistics(model, inputs)
        output = outputs(model, inputs)
        gradients = torch.autograd.grad((output * torch.randn_like(output)).sum(), parameters, allow_unused=True)
    return all(gradient is None or _all_slices(gradient) for gradient in gradients)


def _all_slices(gradient: Tensor) -> bool:
    """Whether nearly all slices along every dimension have a non-zero entry."""
    alive = gradient != 0
    shares = (
        alive.flatten() if alive.ndim < 2 else alive.movedim(dim, 0).flatten(1).any(dim=1) for dim in range(alive.ndim)
    )
    return all(share.float().mean() >= 1 - _SILENT for share in shares)
