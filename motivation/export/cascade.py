"""Two models deployed as one: the base model answers where it is sure, the motivated model otherwise."""

import json
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, get_args

import torch
from annotated_types import Ge
from torch import Tensor, nn

from motivation.errors import ArgumentError, ConfigError
from motivation.evaluation.confidence import Measure, confidence
from motivation.export.deployable import Deployable
from motivation.export.origin import ORIGIN
from motivation.structures import MODEL_NAMES
from motivation.utils.arguments import Count, checked
from motivation.utils.files import sha256

# The file in the folder of a run that holds its thresholds.
FILE = 'cascade.json'

# How far float images may lie beyond 0 to 1: bicubic resizing overshoots by less, other scales by more.
_OVERSHOOT = 0.5

# Which of them.
At = Literal['equal_accuracy', 'best_accuracy']


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
        channels: C of images as uint8, 0 to 255, or float, 0 to 1; others are refused. ``None`` (default) for models of
            images on another scale, which only they can check.

    Example:
        >>> cascade = Cascade.load('work_dirs/flowers')   # after motivation cascade work_dirs/flowers
        >>> logits, by_motivated = cascade(images)        # uint8 (N, C, H, W)
    """

    @checked
    def __init__(
        self,
        base: nn.Module,
        motivated: nn.Module,
        threshold: Annotated[float, Ge(0)],
        measure: Measure = 'probability',
        channels: Count | None = None,
    ) -> None:
        super().__init__()
        self.base = base
        self.motivated = motivated
        self.threshold = threshold
        self.measure: Measure = measure
        self.channels = channels

    @classmethod
    def load(cls, folder: str | Path, at: At = 'equal_accuracy', thresholds: str | Path | None = None) -> 'Cascade':
        """Load both models of a run with the threshold that ``motivation cascade`` chose.

        Args:
            folder: The work_dir, with ``base.pth`` and ``motivated.pth``.
            at: The threshold that equals the motivated model (default), or the one of the best accuracy.
            thresholds: Path of the ``cascade.json``, where ``--out`` put it elsewhere. Default: that in ``folder``.

        Returns:
            A cascade in evaluation mode that takes images as uint8, 0 to 255, or float, 0 to 1, after the transforms of
            validation.

        Raises:
            ArgumentError: ``at`` is neither.
            ConfigError: A file is missing or damaged, or the thresholds were chosen for other weights.
        """
        if at not in get_args(At):
            raise ArgumentError('at', f'must be {" or ".join(map(repr, get_args(At)))}, got {at!r}')
        path = Path(folder) / FILE if thresholds is None else Path(thresholds)
        out = '' if thresholds is None else f' --out {path.parent}'
        command = f'motivation cascade {folder}{out}'
        try:
            chosen = json.loads(path.read_bytes())
            threshold, measure = chosen[at]['threshold'], chosen['measure']
            digests = {name: chosen[ORIGIN][name] for name in MODEL_NAMES}
        except FileNotFoundError as error:
            raise ConfigError(f"'{path}' does not exist; write it with '{command}'") from error
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ConfigError(f"'{path}' is damaged; write it again with '{command} --overwrite'") from error
        files = {name: Path(folder) / f'{name}.pth' for name in MODEL_NAMES}
        models = {name: Deployable.load(file, raw_input=True) for name, file in files.items()}
        for name, file in files.items():
            if sha256(file) != digests[name]:
                raise ConfigError(
                    f"'{path}' was made from other weights than those of '{file}'; measure again with "
                    f"'{command} --overwrite'"
                )
        base, motivated = (models[name].network() for name in MODEL_NAMES)
        channels = (models['base'].metainfo.get('input_size') or [None])[0]
        return cls(base, motivated, threshold, measure, channels).eval()

    @torch.no_grad()
    def forward(self, images: Tensor) -> Answers:
        """Answer a batch.

        Args:
            images: (N, C, H, W), as both models take them.

        Raises:
            ArgumentError: They are something else; values of float images are checked on the CPU only, because on a GPU
                that waits for it.
        """
        self._check(images)
        logits = self.base(images)
        # Not `confidence < threshold`: of logits that are NaN the base model is not sure.
        passed_on = ~(confidence(logits, self.measure) >= self.threshold)
        if passed_on.any():
            logits = logits.clone()
            logits[passed_on] = self.motivated(images[passed_on]).to(logits.dtype)
        return Answers(logits, passed_on)

    def _check(self, images: Tensor) -> None:
        if not isinstance(images, Tensor):
            raise ArgumentError(
                'images', f'must be a tensor, got {type(images).__name__}; convert with torch.from_numpy'
            )
        channels = 'C' if self.channels is None else self.channels
        if images.ndim != 4 or self.channels not in (None, images.shape[1]):
            raise ArgumentError('images', f'must be (N, {channels}, H, W), got {tuple(images.shape)}')
        if self.channels is None or images.dtype == torch.uint8:
            return
        expected = 'must be uint8, 0 to 255, or float, 0 to 1, not normalised'
        if not images.is_floating_point():
            raise ArgumentError('images', f'{expected}; got {str(images.dtype).removeprefix("torch.")}')
        if images.device.type == 'cpu' and images.numel():
            low, high = (value.item() for value in images.aminmax())
            if not (low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT):
                raise ArgumentError('images', f'{expected}; got values from {low:.4g} to {high:.4g}')
