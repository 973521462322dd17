"""The agreement of the gradients of successive steps."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from motivation.models import DualModel
from motivation.structures import MODEL_NAMES, ModelName
from motivation.weight_maps.index import mesh


class GradientAgreement:
    """The cosine of the gradients of each step and the one before, over the parameters that both models share.

    Both gradients are those of the model that was active, as they are stepped with but before clipping, in the order of
    the base model's parameters. The last one is kept, in memory and in checkpoints, with the size of the base model.

    Args:
        model: Both models.
    """

    def __init__(self, model: DualModel) -> None:
        tensors = {name: model.weight_map.tensors(name) for name in MODEL_NAMES}
        pairs = [pair for pair in model.weight_map.pairs if _is_trained(tensors['base'][pair.base])]
        device = next(model.parameters()).device
        self._parameters: dict[ModelName, list[tuple[Tensor, tuple[Tensor, ...]]]] = {
            'base': [(tensors['base'][pair.base], ()) for pair in pairs],
            'motivated': [
                (
                    tensors['motivated'][pair.motivated],
                    tuple(part.to(device) for part in mesh(pair.index, tensors['motivated'][pair.motivated].shape))
                    if pair.index
                    else (),
                )
                for pair in pairs
            ],
        }
        self._last: Tensor | None = None

    def measure(self, model: ModelName) -> dict[str, Tensor]:
        """Return ``'grad_agreement'``, from -1 to 1, once there are two gradients; NaN where one is zero or not finite."""
        gradient = torch.cat([_of_image(*parameter) for parameter in self._parameters[model]])
        last, self._last = self._last, gradient
        if last is None:
            return {}
        return {'grad_agreement': gradient.dot(last) / (gradient.norm() * last.norm())}

    def state_dict(self) -> dict[str, Any]:
        """Return the last gradient; ``None`` before the first step."""
        return {'gradient': self._last}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the gradient that :meth:`state_dict` returned."""
        device = self._parameters['base'][0][0].device
        self._last = None if state_dict['gradient'] is None else state_dict['gradient'].to(device)


def _is_trained(tensor: Tensor) -> bool:
    return isinstance(tensor, nn.Parameter) and tensor.requires_grad


def _of_image(parameter: Tensor, image: tuple[Tensor, ...]) -> Tensor:
    """Return the gradient of the base model's image in a parameter, flat; zeros if there is none."""
    gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    return (gradient[image] if image else gradient).flatten()
