"""A classifier trained by knowledge distillation from an exported model."""

from pathlib import Path
from typing import Any, Literal

import torch
from mmengine.model import BaseModel
from torch import Tensor

from motivation.errors import ConfigError
from motivation.models.distillation import Temperature, Weight, divergence_kind, divergence_of
from motivation.models.exported_file import load_exported
from motivation.models.timm_classifier import TimmClassifier
from motivation.registry import MODELS
from motivation.utils.arguments import checked

WEIGHT, TEMPERATURE = 0.9, 4.0  # defaults


@MODELS.register_module()
class DistilledClassifier(TimmClassifier):
    """A :class:`TimmClassifier` trained by knowledge distillation, the standard baseline for a small model.

    The loss is ``(1 - weight)`` times the classifier's own loss plus ``weight * temperature**2`` times the KL
    divergence to the teacher's outputs. The teacher is frozen and in evaluation mode; it is not part of the
    model's parameters, state or export. Its forward pass counts as training compute of this model.

    Source: Hinton et al., arXiv 1503.02531; the default weight and temperature are those of Tian et
    al., arXiv 1910.10699, for CIFAR-100.

    Args:
        model_name: Name of a timm model.
        num_classes: Number of classes, which must equal the teacher's.
        teacher: Path of an exported model, such as ``'work_dirs/always/motivated.pth'``.
        weight: Weight of the KL divergence, above 0 and at most 1. Default: 0.9.
        temperature: Divisor of both logits, above 0. Default: 4.
        **kwargs: Further arguments of :class:`TimmClassifier`.

    Attributes:
        teacher_classes: Class names of the teacher, or ``None`` if its file has none; the datasets must have
            the same.

    Raises:
        ConfigError: A value is out of range, the teacher's file is missing, or the teacher has another number of
            classes, another kind of loss, or normalises images differently.

    Example:
        >>> model = dict(base=dict(type='DistilledClassifier', teacher='work_dirs/always/motivated.pth'))
    """

    @checked
    def __init__(
        self,
        model_name: str,
        num_classes: int,
        teacher: str,
        weight: Weight = WEIGHT,
        temperature: Temperature = TEMPERATURE,
        **kwargs: Any,
    ) -> None:
        super().__init__(model_name, num_classes, **kwargs)
        self.weight = weight
        self.temperature = temperature
        self._teacher = (_load_teacher(teacher, self),)  # in a tuple, so that it is not registered as a submodule
        self.teacher_classes: list[str] | None = self._teacher[0].metainfo.get('classes')

    def forward(
        self, inputs: Tensor, targets: Tensor | None = None, mode: Literal['loss', 'predict', 'tensor'] = 'tensor'
    ) -> Any:
        """Run the backbone as :class:`TimmClassifier` does, with the distillation loss in mode ``'loss'``."""
        if mode != 'loss':
            return super().forward(inputs, targets, mode)
        logits = self._logits(inputs)
        with torch.no_grad():
            target_logits = self._teacher[0](inputs)
        divergence = divergence_of(self.loss)(logits, target_logits, self.temperature)
        return {'loss': (1 - self.weight) * self._loss(logits, targets) + self.weight * divergence}

    def _apply(self, fn: Any, *args: Any, **kwargs: Any) -> 'DistilledClassifier':
        """Apply ``fn`` to the teacher too, so that it moves to the same device and dtype."""
        self._teacher[0]._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)

    def deployed_config(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return the config of the exported model, which has no teacher."""
        return super().deployed_config(self.without_teacher(config))

    @staticmethod
    def without_teacher(config: dict[str, Any]) -> dict[str, Any]:
        """Return the config of the same network without its teacher."""
        return {
            **{key: value for key, value in config.items() if key not in ('teacher', 'weight', 'temperature')},
            'type': 'TimmClassifier',
        }


def _load_teacher(path: str, student: TimmClassifier) -> BaseModel:
    teacher = load_exported(Path(path))
    if getattr(teacher, 'num_classes', None) != student.num_classes:
        raise ConfigError(
            f'teacher {path!r} has {getattr(teacher, "num_classes", "unknown")} classes and the model '
            f'{student.num_classes}; give a teacher trained on the same classes'
        )
    own, taught = student.loss, getattr(teacher, 'loss', None)
    if divergence_kind(own) != divergence_kind(taught):
        raise ConfigError(
            f'teacher {path!r} was trained with {type(taught).__name__} and the model is with {type(own).__name__}, whose '
            'outputs mean different things; give a teacher with the same loss'
        )
    for name in ('mean', 'std'):
        if not torch.equal(getattr(teacher.data_preprocessor, name), getattr(student.data_preprocessor, name)):
            raise ConfigError(
                f"teacher {path!r} normalises images with another {name}; give the model the teacher's mean and std"
            )
    return teacher.requires_grad_(False)
