"""Preprocessing of image batches on the device."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any

import torch
from annotated_types import Gt
from mmengine.model import BaseDataPreprocessor
from timm.data import Mixup
from torch import Tensor

from motivation.errors import ArgumentError, ConfigError, one_line, shortened
from motivation.registry import MODELS
from motivation.utils.arguments import checked


@MODELS.register_module()
class ImagePreprocessor(BaseDataPreprocessor):
    """Moves a batch of images to the device, normalises it and, in training, applies mixup or CutMix.

    Legend: N images, C channels, H x W pixels, K classes.

    Args:
        mean: Mean of each channel on the scale 0 to 1, or one value for all channels.
        std: Standard deviation of each channel on the scale 0 to 1, above 0.
        mixup: Arguments of :class:`timm.data.Mixup` (``mixup_alpha``, ``cutmix_alpha``, ``prob``, ...), which is
            applied to training batches; ``None`` (default) for no mixup.
        num_classes: K, used for mixed targets. Default: 1000.
        label_smoothing: Label smoothing of mixed class indices. Default: 0.

    Raises:
        ConfigError: A standard deviation is not above 0, or an argument of ``mixup`` is invalid.
    """

    @checked
    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[Annotated[float, Gt(0)]],
        mixup: dict[str, Any] | None = None,
        num_classes: int = 1000,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(non_blocking=True)
        self.mixup = _build_mixup(mixup, num_classes, label_smoothing) if mixup else None
        # Not persistent: a weight map must not transfer them.
        self.register_buffer('mean', torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, data: dict[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """Preprocess one batch.

        Args:
            data: ``'inputs'``: (N, C, H, W), uint8 from 0 to 255 or float from 0 to 1; ``'targets'``: class
                indices (N,), or several labels (N, K), optional in evaluation.
            training: Whether to apply mixup.

        Returns:
            ``'inputs'``: (N, C, H, W), normalised float; ``'targets'``, if given: as given, or (N, K) after mixup.

        Raises:
            ConfigError: ``'inputs'`` is missing, or ``'targets'`` is missing and mixup needs it.
        """
        if not isinstance(data, Mapping) or 'inputs' not in data:
            raise ConfigError(
                f"data_preprocessor got a {type(data).__name__} without 'inputs'; give it dict(inputs=images), images (N, C, H, W)"
            )
        data = _on_device(data, self.device, self.cast_data)
        inputs, targets = data['inputs'], data.get('targets')
        scale = 255.0
        if inputs.is_floating_point():
            inputs, scale = inputs.to(self.mean.dtype), 1.0
        inputs = (inputs - self.mean * scale) / (self.std * scale)
        if training and self.mixup is not None:
            if targets is None:
                raise ConfigError(
                    "the batch has no 'targets', which mixup needs; give them, or preprocess unlabelled images with "
                    'training=False'
                )
            inputs, targets = self._mix(inputs, targets)
        return {'inputs': inputs} if targets is None else {'inputs': inputs, 'targets': targets}

    def _mix(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Apply mixup. timm's needs an even batch, so the last image of an odd batch is repeated and then dropped."""
        assert self.mixup is not None
        images = len(inputs)
        if images % 2:
            inputs, targets = torch.cat([inputs, inputs[-1:]]), torch.cat([targets, targets[-1:]])
        if targets.ndim == 1:
            mixed, soft = self.mixup(inputs, targets)
            return mixed[:images], soft[:images]
        # Each image is mixed with that of the other half of the batch in its mirror place, so that the halves, taken for two
        # classes, get the shares of both images. (A product of shares and labels would count as compute of the model.)
        count = len(inputs)
        halves = (torch.arange(count, device=inputs.device) >= count // 2).long()
        classes, self.mixup.num_classes = self.mixup.num_classes, 2
        mixed, shares = self.mixup(inputs, halves)
        self.mixup.num_classes = classes
        own, other = (shares.gather(1, half[:, None]).to(targets.dtype) for half in (halves, 1 - halves))
        return mixed[:images], (own * targets + other * targets.flip(0))[:images]


def _on_device(data: Mapping[str, Any], device: torch.device, copy: Callable[[Any], Any]) -> Any:
    """Copy a batch to a device, from pinned memory while a GPU still works on the step before."""
    values = [value for value in data.values() if isinstance(value, Tensor)]
    if device.type != 'cuda' or not all(value.is_cpu and value.is_pinned() for value in values):
        return copy(data)
    stream, current = _copy_stream(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(stream):
        copied = copy(data)
    current.wait_stream(stream)
    for value in copied.values():
        if isinstance(value, Tensor):
            value.record_stream(current)  # its memory was allocated for the other stream
    return copied


@cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def _build_mixup(arguments: dict[str, Any], num_classes: int, label_smoothing: float) -> Mixup:
    try:
        mixup = Mixup(**arguments, num_classes=num_classes, label_smoothing=label_smoothing)
        if not (mixup.mixup_alpha > 0 or mixup.cutmix_alpha > 0):
            raise ValueError('neither mixup_alpha nor cutmix_alpha is above 0')
        return mixup
    except Exception as error:
        raise ArgumentError(
            'mixup', f'is {shortened(arguments)}, which is invalid: {one_line(str(error), 200)}; correct it'
        ) from error
