"""Two models deployed as one: the base model answers where it is sure, the motivated model otherwise."""

import json
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor, nn

from motivation.errors import ConfigError
from motivation.evaluation.confidence import Measure, confidence
from motivation.export.deployable import Deployable
from motivation.structures import MODEL_NAMES
from motivation.utils.arguments import checked

# The file in the folder of a run that holds its thresholds.
FILE = 'cascade.json'


class Answers(NamedTuple):
    """The answers to N images over K classes.

    Attributes:
        logits: (N, K), those of the model that answered.
        by_motivated: Whether the motivated model answered, bool (N,).
    """

    logits: Tensor
    by_motivated: Tensor


class Cascade(nn.Module):
    """Runs the base model on all images, and the motivated model on those of which the base model is not sure.

    Args:
        base: Maps images (N, C, H, W) to logits (N, K), each image by itself (in evaluation mode).
        motivated: Likewise; it takes the same images.
        threshold: Confidence, 0 to 1, below which an image is passed on; 0 passes on none, 2 all.
        measure: The measure of confidence. Default: ``'probability'``.

    Example:
        >>> cascade = Cascade.load('work_dirs/flowers')   # after tools/cascade.py work_dirs/flowers
        >>> logits, by_motivated = cascade(images)        # uint8 (N, C, H, W)
    """

    @checked
    def __init__(
        self,
        base: nn.Module,
        motivated: nn.Module,
        threshold: Annotated[float, Ge(0)],
        measure: Measure = 'probability',
    ) -> None:
        super().__init__()
        self.base = base
        self.motivated = motivated
        self.threshold = threshold
        self.measure: Measure = measure

    @classmethod
    def load(cls, folder: str | Path, at: Literal['equal_accuracy', 'best_accuracy'] = 'equal_accuracy') -> 'Cascade':
        """Load both models of a run with the threshold that ``tools/cascade.py`` chose.

        Args:
            folder: The work_dir, with ``base.pth``, ``motivated.pth`` and ``cascade.json``.
            at: The threshold that equals the motivated model (default), or the one of the best accuracy.

        Returns:
            A cascade in evaluation mode that takes images as uint8, 0 to 255, or float, 0 to 1, after the transforms of
            validation.

        Raises:
            ConfigError: A file is missing or damaged.
        """
        path = Path(folder) / FILE
        try:
            chosen = json.loads(path.read_text())
            threshold, measure = chosen[at]['threshold'], chosen['measure']
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"'{path}' is missing or damaged; write it with 'python tools/cascade.py {folder}'"
            ) from error
        base, motivated = (
            Deployable.load(Path(folder) / f'{name}.pth', raw_input=True).network() for name in MODEL_NAMES
        )
        return cls(base, motivated, threshold, measure).eval()

    @torch.no_grad()
    def forward(self, images: Tensor) -> Answers:
        """Answer a batch.

        Args:
            images: (N, C, H, W), as both models take them.
        """
        logits = self.base(images)
        # Not `confidence < threshold`: of logits that are NaN the base model is not sure.
        passed_on = ~(confidence(logits, self.measure) >= self.threshold)
        if passed_on.any():
            logits = logits.clone()
            logits[passed_on] = self.motivated(images[passed_on]).to(logits.dtype)
        return Answers(logits, passed_on)
