"""An image classifier with a timm backbone."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

import timm
import torch
from annotated_types import Ge, Gt, Lt
from mmengine.model import BaseModel
from timm.models import filter_pretrained_cfg
from torch import Tensor, nn

from motivation.errors import ArgumentError, ConfigError, near_matches, shortened
from motivation.models import cifar_resnet  # noqa: F401, registers cifar_resnet* with timm
from motivation.models.class_weights import ClassWeights
from motivation.models.drop_path import drop_paths, scaled_rate
from motivation.models.losses import build_loss, takes_several_labels
from motivation.models.normalisation import normalisation_of
from motivation.models.preprocessor import ImagePreprocessor
from motivation.models.pretraining import reads_sources, unread_sources
from motivation.models.source_weights import check_sources, load_source, renew_head, timm_source
from motivation.models.stem import adapt_stem
from motivation.registry import MODELS
from motivation.utils.arguments import Written, checked
from motivation.utils.example import find_input_size
from motivation.utils.precision import full_precision

# What turns logits into probabilities: classes that exclude each other, or do not.
Outputs = Literal['softmax', 'sigmoid']
OUTPUTS: tuple[Outputs, ...] = get_args(Outputs)


@MODELS.register_module()
class TimmClassifier(BaseModel):
    """An image classifier: a timm backbone with its preprocessing and loss.

    Legend: N images, C channels, H x W pixels, K classes.

    Args:
        model_name: Name of a timm model, such as ``'cifar_resnet20'`` or ``'efficientnet_b0'``.
        num_classes: K.
        stem: ``'cifar'`` adapts a stem made for 224 px to 32 px, see
            :func:`~motivation.models.stem.adapt_stem`; ``None`` (default) keeps it.
        mean: Mean of each channel on the scale 0 to 1, or one for all; ``None`` (default) for the backbone's own, see
            :func:`~motivation.models.normalisation.normalisation_of`.
        std: Standard deviation of each channel, above 0, likewise.
        label_smoothing: Label smoothing, at least 0 and below 1. Default: 0.
        mixup: Arguments of :class:`timm.data.Mixup`; ``None`` (default) for no mixup.
        loss: Config of the loss, see :mod:`motivation.models.losses`. Default:
            :class:`~motivation.models.losses.CrossEntropyLoss`.
        weights: Weights of an earlier run to begin with: an exported ``base.pth`` or ``motivated.pth``, a folder that
            ``tools/export.py`` wrote for timm, or the run's folder, of whose models the one that fits is taken. For
            another number of classes the head is new. ``None`` (default) for none.
        new_head: Whether the head of pretrained weights is not taken over, for other classes of the same number.
            Default: ``False``.
        **model_kwargs: Arguments of :func:`timm.create_model` (``in_chans``, ``depth``, ``drop_path_rate``,
            ``pretrained``, ``checkpoint_path``, ...).

    Attributes:
        input_size: Default input size of the backbone, (C, H, W).
        pretrained: Whether the backbone begins with pretrained weights.
        source: Where these are from, in words; ``None`` without any.
        source_classes: Class names that a pretrained head was trained for; ``None`` if they are not known or the head is new.
        outputs: What turns logits into probabilities: ``'softmax'``, or ``'sigmoid'`` with a loss for several labels an
            image.

    Raises:
        ConfigError: timm does not know the model or rejects an argument, the stem cannot be adapted, or a value
            is out of range.
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
        mixup: Annotated[dict[str, Any], Written('dict(mixup_alpha=0.2)')] | None = None,
        loss: Annotated[dict[str, Any], Written("dict(type='CrossEntropyLoss')")] | None = None,
        weights: str | None = None,
        new_head: bool = False,
        **model_kwargs: Any,
    ) -> None:
        check_sources(model_name, weights, new_head, model_kwargs)
        backbone = _create_backbone(model_name, num_classes, model_kwargs)
        if new_head and weights is None and reads_sources():
            with unread_sources():
                renew_head(backbone, _create_backbone(model_name, num_classes, model_kwargs))
        if stem is not None:
            adapt_stem(backbone, model_name)
        size = find_input_size(backbone)
        channels = model_kwargs.get('in_chans', size[0])
        mean, std = normalisation_of(backbone, channels, mean, std)
        measure = build_loss(loss, num_classes, label_smoothing)
        several = takes_several_labels(measure)
        super().__init__(
            ImagePreprocessor(
                mean=mean,
                std=std,
                mixup=mixup,
                num_classes=num_classes,
                label_smoothing=0.0 if several else label_smoothing,  # of several labels, the loss smooths mixtures too
            )
        )
        self._deployed = {'mean': list(mean), 'std': list(std), **_without_sources(model_name, model_kwargs, backbone)}
        self.input_size = (channels, *size[1:])
        source = timm_source(model_name, model_kwargs, backbone, num_classes, new_head)
        self.source: str | None = None
        self.source_classes: Sequence[str] | None = None
        if source is not None and reads_sources():
            self.source, self.source_classes = source
        self.pretrained = source is not None or weights is not None
        self.model_name = model_name
        self.num_classes = num_classes
        self.stem = stem
        self.backbone = backbone
        if weights is not None and reads_sources():
            self.source, self.source_classes = load_source(self, weights, new_head)
        self.loss = measure
        self.outputs: Outputs = 'sigmoid' if several else 'softmax'

    def example_batch(self, samples: int) -> dict[str, Tensor]:
        """Return a random batch in the data loader's format: uint8 images (samples, C, H, W) and targets.

        These are class indices (samples,), or float 0 and 1, (samples, K), with a loss for several labels.
        """
        several = self.outputs == 'sigmoid'
        return {
            'inputs': torch.randint(256, (samples, *self.input_size), dtype=torch.uint8),
            'targets': torch.randint(2, (samples, self.num_classes)).float()
            if several
            else torch.randint(self.num_classes, (samples,)),
        }

    def deployed_config(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return a config that builds the same network without access to any pretrained weights.

        Args:
            config: The config that this model was built from.

        Returns:
            The config; class weights that a run has counted are numbers in it.
        """
        deployed = {**{key: value for key, value in config.items() if key not in _SOURCES}, **self._deployed}
        counted = {
            part.argument: part.values.tolist()
            for part in self.loss.modules()
            if isinstance(part, ClassWeights) and part.is_auto and part.values is not None
        }
        return {**deployed, 'loss': {**deployed['loss'], **counted}} if counted else deployed

    def scale_drop_path(self, factor: float) -> None:
        """Multiply the rates of stochastic depth of all blocks.

        Args:
            factor: From 0 to 1.
        """
        for path in drop_paths(self.backbone):
            path.drop_prob *= factor
        self._deployed |= scaled_rate(self._deployed, factor)

    def init_weights(self) -> None:
        """Do nothing: timm initialised the backbone, or loaded pretrained weights, when it built it.

        MMEngine's default would call timm's ``init_weights`` again and overwrite pretrained weights.
        """

    def forward(
        self, inputs: Tensor, targets: Tensor | None = None, mode: Literal['loss', 'predict', 'tensor'] = 'tensor'
    ) -> Any:
        """Run the backbone.

        Args:
            inputs: Normalised float images (N, C, H, W), as ``data_preprocessor`` returns them.
            targets: Class indices (N,), class probabilities (N, K) after mixup, or several labels (N, K); required for
                ``'loss'``.
            mode: What to return.

        Returns:
            ``'loss'``: ``{'loss': scalar}``; ``'tensor'``: logits (N, K); ``'predict'``: for each image
            ``{'logits': (K,), 'target': scalar}``, with several labels ``'target'``: (K,), without ``'target'`` if no targets are given.

        Raises:
            ConfigError: The images have an integer dtype, or ``'loss'`` has no targets.
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
                f'the images given to the model are {inputs.dtype}, not normalised; give it '
                "model.data_preprocessor({'inputs': images})['inputs']"
            )
        return full_precision(self.backbone(inputs))

    def _loss(self, logits: Tensor, targets: Tensor | None) -> Tensor:
        if targets is None:
            raise ConfigError("mode is 'loss', which needs targets; give them, or use mode='tensor' for the logits")
        return self.loss(logits, targets)


# Arguments about pretrained weights: two of TimmClassifier, the others of timm.create_model.
_SOURCES = (
    'weights',
    'new_head',
    'pretrained',
    'pretrained_cfg',
    'pretrained_cfg_overlay',
    'pretrained_strict',
    'checkpoint_path',
    'cache_dir',
)


def _without_sources(model_name: str, model_kwargs: dict[str, Any], backbone: nn.Module) -> dict[str, Any]:
    """Return arguments that build the same network without loading its weights from a file, folder or hub."""
    arguments = {key: value for key, value in model_kwargs.items() if key not in _SOURCES}
    known: dict[str, Any] = getattr(backbone, 'pretrained_cfg', None) or {}
    is_remote = ':' in model_name  # the name of a folder or hub, which defines the architecture
    if is_remote:
        model_name = known['architecture']
        arguments = {**getattr(backbone, 'pretrained_model_args', {}), **arguments}
    if is_remote or model_kwargs.get('pretrained_cfg') or model_kwargs.get('pretrained_cfg_overlay'):
        # It gives defaults of other arguments: image size, channels, pooling.
        kept = filter_pretrained_cfg(known, remove_source=True)
        arguments['pretrained_cfg'] = {key: kept[key] for key in kept if key not in ('state_dict', 'custom_load')}
    return {'model_name': model_name, **arguments}


def _create_backbone(model_name: str, num_classes: int, model_kwargs: dict[str, Any]) -> nn.Module:
    if ':' not in model_name and not timm.is_model(model_name):  # with a colon it names a hub: 'hf-hub:owner/model'
        raise ArgumentError(
            'model_name', f'{shortened(model_name)} is not a timm model; {near_matches(model_name, timm.list_models())}'
        )
    if not reads_sources():
        model_kwargs = {**model_kwargs, 'pretrained': False, 'checkpoint_path': ''}
    try:
        return timm.create_model(model_name, num_classes=num_classes, **model_kwargs)
    except Exception as error:  # model constructors raise errors of any type
        reason = ' '.join(str(error).split())[:300]
        raise ArgumentError(
            'model_name',
            f'is {model_name!r}, which timm cannot build with the arguments {shortened(model_kwargs)}: {reason}; fix or leave out '
            'the argument',
        ) from error
