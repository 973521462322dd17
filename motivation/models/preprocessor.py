"""From a batch of images as stored to the input of a network."""

from collections.abc import Mapping, Sequence
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
    """Moves a batch to the device, normalises it and, in training, mixes it.

    Legend: N images, C channels, H x W pixels, K classes.

    Args:
        mean: Mean of each channel, on the scale 0 to 1; one value serves all channels.
        std: Standard deviation of each channel, on the scale 0 to 1.
        mixup: Arguments of :class:`timm.data.Mixup` (``mixup_alpha``, ``cutmix_alpha``, ``prob``,
            ...), applied to training batches; ``None`` mixes nothing.
        num_classes: K, which mixed targets need.
        label_smoothing: Smoothing of mixed targets.

    Raises:
        ConfigError: A standard deviation is not above 0, or timm's mixup refuses an argument.
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
        # Not persistent: they are configuration, and a weight map must not carry them.
        self.register_buffer('mean', torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, data: dict[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """Prepare one batch.

        Args:
            data: ``'inputs'``: (N, C, H, W), uint8 on the scale 0 to 255 or float on the scale 0 to
                1; ``'targets'``: (N,), class indices, which new images do not have and need not.
            training: Whether to mix.

        Returns:
            ``'inputs'``: (N, C, H, W), normalised float; ``'targets'``, if given: (N,), or (N, K) if mixed.

        Raises:
            ConfigError: There are no ``'inputs'``, or no ``'targets'`` to mix.
        """
        if not isinstance(data, Mapping) or 'inputs' not in data:
            raise ConfigError(
                f"data_preprocessor got a {type(data).__name__} without 'inputs'; give it dict(inputs=images), images (N, C, H, W)"
            )
        data = self.cast_data(data)
        inputs, targets = data['inputs'], data.get('targets')
        scale = 255.0
        if inputs.is_floating_point():
            inputs, scale = inputs.to(self.mean.dtype), 1.0
        inputs = (inputs - self.mean * scale) / (self.std * scale)
        if training and self.mixup is not None:
            if targets is None:
                raise ConfigError(
                    "the batch has no 'targets', which a model's mixup mixes like the images; give them, or prepare new images "
                    'with training=False'
                )
            inputs, targets = self._mix(inputs, targets)
        return {'inputs': inputs} if targets is None else {'inputs': inputs, 'targets': targets}

    def _mix(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mix each image with another of the batch; timm's takes even batches, so one of an odd batch is there twice."""
        assert self.mixup is not None
        images = len(inputs)
        if images % 2:
            inputs, targets = torch.cat([inputs, inputs[-1:]]), torch.cat([targets, targets[-1:]])
        mixed, soft = self.mixup(inputs, targets)
        return mixed[:images], soft[:images]


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
