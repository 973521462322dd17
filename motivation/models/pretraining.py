"""Weights that a model was given before the run, and what of them the run does not begin with."""

from typing import Any, NamedTuple

from torch import nn


class Pretraining(NamedTuple):
    """What becomes of a pretrained motivated model before its first step.

    Attributes:
        base_too: Whether the base model is pretrained as well.
        replaced: Tensors of the motivated model that are then the base model's, in whole or in part.
        zeroed: Others that the extension begins with as zero.
        tensors: All of its parameters and buffers.
    """

    base_too: bool
    replaced: int
    zeroed: int
    tensors: int

    def __str__(self) -> str:
        source = "the base model's, pretrained too," if self.base_too else "the base model's"
        zeroed = f", and extension='zero' zeroes {self.zeroed}" if self.zeroed else ''
        return (
            f'of {self.tensors} tensors of the motivated model {self.replaced} are replaced by {source} '
            f'before its first step{zeroed}'
        )


def is_pretrained(model: nn.Module) -> bool:
    """Whether a model begins with weights trained before: it says so, or its ``init_cfg`` names some."""
    named = (getattr(module, 'init_cfg', None) for module in model.modules())
    return getattr(model, 'pretrained', False) is True or any(map(names_weights, named))


def names_weights(init_cfg: Any) -> bool:
    """Whether an ``init_cfg`` of MMEngine's takes weights from a file."""
    if isinstance(init_cfg, (list, tuple)):
        return any(map(names_weights, init_cfg))
    return isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained'
