"""Pretrained weights, and how many of them the transfer and the extension replace."""

from typing import Any, NamedTuple

from torch import nn


class Pretraining(NamedTuple):
    """How many tensors of a pretrained motivated model change before its first step.

    Attributes:
        base_too: Whether the base model is pretrained as well.
        replaced: Number of tensors that the first transfer overwrites, in whole or in part.
        zeroed: Number of other tensors that the zero extension changes.
        tensors: Number of all parameters and buffers.
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
    """Whether a model has pretrained weights, according to its ``pretrained`` attribute or its ``init_cfg``."""
    named = (getattr(module, 'init_cfg', None) for module in model.modules())
    return getattr(model, 'pretrained', False) is True or any(map(names_weights, named))


def names_weights(init_cfg: Any) -> bool:
    """Whether an ``init_cfg`` of MMEngine loads weights from a file."""
    if isinstance(init_cfg, (list, tuple)):
        return any(map(names_weights, init_cfg))
    return isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained'
