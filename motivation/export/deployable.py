"""A trained model with all that is needed to deploy it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from motivation.models.exported_file import load_exported


@dataclass(frozen=True)
class Deployable:
    """A trained model that exporters write in their formats.

    Legend: N images, C channels, H x W pixels, K classes.

    Attributes:
        model: The model, in evaluation mode on the CPU, as :func:`~motivation.models.exported_file.load_exported`
            returns it: its ``metainfo`` describes its images and names its classes.
        raw_input: Whether exported graphs take images as uint8, 0 to 255, and normalise them themselves; else they take
            normalised float32.
    """

    model: BaseModel
    raw_input: bool = False

    @classmethod
    def load(cls, path: Path, raw_input: bool = False) -> 'Deployable':
        """Load a ``base.pth`` or ``motivated.pth``.

        Raises:
            ConfigError: The file is missing, corrupted, or not an exported model.
        """
        return cls(load_exported(path), raw_input)

    @property
    def metainfo(self) -> dict[str, Any]:
        """Description of the images and classes, see :func:`~motivation.models.exported_file.load_exported`."""
        return self.model.metainfo

    @property
    def classes(self) -> Sequence[str] | None:
        """Class names in the order of the logits; ``None`` if they are not known."""
        return self.metainfo.get('classes')

    def network(self) -> nn.Module:
        """Return the graph to export: a module that takes one tensor (N, C, H, W) and returns logits (N, K)."""
        return _Network(self.model, self.raw_input).eval()

    @torch.no_grad()
    def inputs(self, images: Tensor) -> Tensor:
        """Return images as the graph takes them.

        Args:
            images: (N, C, H, W), uint8 from 0 to 255 or float from 0 to 1, after the transforms of validation.

        Returns:
            (N, C, H, W), uint8 with ``raw_input``, else normalised float32.
        """
        if self.raw_input:
            return as_uint8(images)
        return self.model.data_preprocessor({'inputs': images})['inputs']


def as_uint8(images: Tensor) -> Tensor:
    """Return images as uint8, 0 to 255, which are uint8 already or float from 0 to 1."""
    return images if images.dtype == torch.uint8 else (images * 255).round().clamp(0, 255).to(torch.uint8)


class _Network(nn.Module):
    """The logits of a model, with its normalisation in front if it takes raw images."""

    def __init__(self, model: BaseModel, raw_input: bool) -> None:
        super().__init__()
        self.model = model
        self.raw_input = raw_input

    def forward(self, images: Tensor) -> Tensor:
        if self.raw_input:
            images = self.model.data_preprocessor({'inputs': images})['inputs']
        return self.model(images)
