"""An image classifier around any timm backbone."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import timm
import torch
from annotated_types import Ge, Gt, Lt
from mmengine.model import BaseModel
from timm.data import resolve_data_config
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.models import filter_pretrained_cfg
from torch import Tensor, nn

from motivation.errors import ConfigError, near_matches, shortened
from motivation.models import cifar_resnet  # noqa: F401, registers cifar_resnet* with timm
from motivation.models.preprocessor import ImagePreprocessor
from motivation.models.stem import adapt_stem
from motivation.registry import MODELS
from motivation.utils.arguments import checked
from motivation.utils.example import find_input_size


@MODELS.register_module()
class TimmClassifier(BaseModel):
    """A timm backbone with its normalisation and loss.

    Legend: N images, C channels, H x W pixels, K classes.

    Args:
        model_name: A name timm knows, such as ``'cifar_resnet20'`` or ``'efficientnet_b0'``.
        num_classes: K.
        stem: ``'cifar'`` adapts a stem made for 224 px to 32 px, see
            :func:`~motivation.models.stem.adapt_stem`; ``None`` leaves it.
        mean: Mean of each channel on the scale 0 to 1; ``None`` takes the backbone's own.
        std: Standard deviation of each channel; ``None`` takes the backbone's own.
        label_smoothing: Share of the target spread over all classes.
        mixup: Arguments of :class:`timm.data.Mixup`, or ``None``.
        **model_kwargs: Passed to :func:`timm.create_model` (``in_chans``, ``depth``,
            ``drop_path_rate``, ``pretrained``, ...).

    Attributes:
        input_size: (C, H, W) that the backbone is made for; convolutional networks take others too.
        pretrained: Whether the backbone began with weights trained before.

    Raises:
        ConfigError: timm does not know the model or refuses an argument, the stem cannot be adapted,
            or a value is out of range.
    """

    data_preprocessor: ImagePreprocessor

    @checked
    def __init__(
        self,
        model_name: str,
        num_classes: int,
        stem: Literal['cifar'] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[Annotated[float, Gt(0)]] | None = None,
        label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0,
        mixup: dict[str, Any] | None = None,
        **model_kwargs: Any,
    ) -> None:
        backbone = _create_backbone(model_name, num_classes, model_kwargs)
        if stem is not None:
            adapt_stem(backbone, stem, model_name)
        defaults = resolve_data_config(model=backbone)
        mean, std = defaults['mean'] if mean is None else mean, defaults['std'] if std is None else std
        super().__init__(
            ImagePreprocessor(
                mean=mean,
                std=std,
                mixup=mixup,
                num_classes=num_classes,
                label_smoothing=label_smoothing,
            )
        )
        self._deployed = {'mean': list(mean), 'std': list(std), **_without_sources(model_name, model_kwargs, backbone)}
        size = find_input_size(backbone)
        self.input_size = (self._deployed.get('in_chans', size[0]), *size[1:])
        self.pretrained = bool(model_kwargs.get('pretrained') or model_kwargs.get('checkpoint_path'))
        self.model_name = model_name
        self.num_classes = num_classes
        self.backbone = backbone
        self.loss: nn.Module
        if mixup:
            self.loss = SoftTargetCrossEntropy()
        elif label_smoothing:
            self.loss = LabelSmoothingCrossEntropy(label_smoothing)
        else:
            self.loss = nn.CrossEntropyLoss()

    def example_batch(self, samples: int) -> dict[str, Tensor]:
        """Return random images as the data loader would: uint8, (N, C, H, W), and their targets, (N,).

        Args:
            samples: N.
        """
        return {
            'inputs': torch.randint(256, (samples, *self.input_size), dtype=torch.uint8),
            'targets': torch.randint(self.num_classes, (samples,)),
        }

    def deployed_config(self, config: dict[str, Any]) -> dict[str, Any]:
        """The config of the trained model, which needs no file, folder or hub that this one was built from.

        Args:
            config: The config it was built from.
        """
        return {**{key: value for key, value in config.items() if key not in _SOURCES}, **self._deployed}

    def init_weights(self) -> None:
        """Nothing: timm has initialised the backbone, or loaded pretrained weights, when it built it.

        MMEngine's runner calls this before training and would have timm's own ``init_weights`` run again,
        over pretrained weights and with its default arguments.
        """

    def forward(
        self, inputs: Tensor, targets: Tensor | None = None, mode: Literal['loss', 'predict', 'tensor'] = 'tensor'
    ) -> Any:
        """Run the backbone.

        Args:
            inputs: (N, C, H, W), normalised float, as ``data_preprocessor`` returns them.
            targets: (N,) class indices, or (N, K) class probabilities if mixed; ``'loss'`` needs them.
            mode: What to return.

        Returns:
            ``'loss'``: ``{'loss': scalar}``; ``'tensor'``: logits, (N, K); ``'predict'``: for each
            image ``{'logits': (K,), 'target': scalar}``, without a target where none are given.

        Raises:
            ConfigError: The images are whole numbers, or the loss has no targets.
        """
        logits = self._logits(inputs)
        if mode == 'tensor':
            return logits
        if mode == 'loss':
            return {'loss': self._loss(logits, targets)}
        if targets is None:
            return [{'logits': row} for row in logits]
        return [{'logits': row, 'target': target} for row, target in zip(logits, targets, strict=True)]

    def _logits(self, inputs: Tensor) -> Tensor:
        if not inputs.is_floating_point():
            raise ConfigError(
                f'the images given to the model are {inputs.dtype}, as stored and not normalised; give it '
                "model.data_preprocessor({'inputs': images})['inputs']"
            )
        return self.backbone(inputs)

    def _loss(self, logits: Tensor, targets: Tensor | None) -> Tensor:
        if targets is None:
            raise ConfigError("mode is 'loss', which needs targets; give them, or use mode='tensor' for the logits")
        return self.loss(logits, targets)


# Arguments of timm.create_model that say where weights are, or what is known of them.
_SOURCES = (
    'pretrained',
    'pretrained_cfg',
    'pretrained_cfg_overlay',
    'pretrained_strict',
    'checkpoint_path',
    'cache_dir',
)


def _without_sources(model_name: str, model_kwargs: dict[str, Any], backbone: nn.Module) -> dict[str, Any]:
    """Arguments that build the same network without the weights, wherever these and its architecture came from."""
    arguments = {key: value for key, value in model_kwargs.items() if key not in _SOURCES}
    known: dict[str, Any] = getattr(backbone, 'pretrained_cfg', None) or {}
    is_named_elsewhere = ':' in model_name
    if is_named_elsewhere:
        model_name = known['architecture']
        arguments = {**getattr(backbone, 'pretrained_model_args', {}), **arguments}
    if is_named_elsewhere or model_kwargs.get('pretrained_cfg') or model_kwargs.get('pretrained_cfg_overlay'):
        # It decides on arguments that are not given: size of the images, channels, pooling.
        kept = filter_pretrained_cfg(known, remove_source=True)
        arguments['pretrained_cfg'] = {key: kept[key] for key in kept if key not in ('state_dict', 'custom_load')}
    return {'model_name': model_name, **arguments}


def _create_backbone(model_name: str, num_classes: int, model_kwargs: dict[str, Any]) -> nn.Module:
    if ':' not in model_name and not timm.is_model(model_name):  # a colon names a hub: 'hf-hub:owner/model'
        raise ConfigError(
            f'model_name {shortened(model_name)} is not a timm model; {near_matches(model_name, timm.list_models())}'
        )
    try:
        return timm.create_model(model_name, num_classes=num_classes, **model_kwargs)
    except Exception as error:  # every family raises its own
        reason = ' '.join(str(error).split())[:300]
        raise ConfigError(
            f'timm does not build {model_name!r} with the arguments {shortened(model_kwargs)}: {reason}; correct or leave out the argument'
        ) from error
