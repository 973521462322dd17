"""Random weights and matching statistics, with which every layer of a network affects its outputs."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from motivation.utils.batches import run_network


def randomise(tensors: dict[str, Tensor], gain: float, generator: torch.Generator) -> None:
    """Fill tensors with random values that keep activations in range, without zeros or equal channels.

    Args:
        tensors: Parameters and buffers by name; integer tensors are skipped.
        gain: Gain of the weights of layers.
        generator: The source of random numbers.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator).to(tensor.device, torch.float64)
        if name.endswith('running_var'):
            noise = 0.5 + noise.square()
        elif tensor.ndim > 1:
            noise = gain * noise / max(tensor[0].numel(), 1) ** 0.5
        elif name.endswith('weight'):
            noise = 1 + 0.3 * noise
        else:
            noise = 0.3 * noise
        tensor.copy_(noise)


def take_statistics(model: nn.Module, inputs: Mapping[str, Any]) -> None:
    """Set the running statistics of batch norms to those of the inputs."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    run_network(model, inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum
