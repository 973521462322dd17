"""A classifier that learns from another one that has been trained before."""

from pathlib import Path
from typing import Any, Literal

import torch
from mmengine.model import BaseModel
from torch import Tensor

from motivation.errors import ConfigError
from motivation.models.distillation import Temperature, Weight, soft_target_divergence
from motivation.models.exported_file import load_exported
from motivation.models.timm_classifier import TimmClassifier
from motivation.registry import MODELS
from motivation.utils.arguments import checked

# Defaults of the distillation.
WEIGHT, TEMPERATURE = 0.9, 4.0


@MODELS.register_module()
class DistilledClassifier(TimmClassifier):
    """A :class:`TimmClassifier` trained by knowledge distillation: the usual way to a good small model.

    Its loss is ``(1 - weight)`` of its own and ``weight`` of the KL divergence to the teacher's
    outputs at ``temperature``, times its square. The teacher is frozen and in evaluation mode; it is
    no part of the model's state, of its parameters or of its export. Its forward pass counts as
    training compute of this model.

    Source: Hinton et al., arXiv 1503.02531; the default weight and temperature are those of Tian et
    al., arXiv 1910.10699, for CIFAR-100.

    Args:
        model_name: As of :class:`TimmClassifier`.
        num_classes: K, the same as the teacher's.
        teacher: A model that a run exported, such as ``'work_dirs/always/motivated.pth'``.
        weight: Weight of the KL divergence, above 0 and at most 1.
        temperature: Divides both logits, above 0.
        **kwargs: Further arguments of :class:`TimmClassifier`.

    Attributes:
        teacher_classes: Names of the teacher's classes, which those of the data must be; ``None`` if its
            file does not say.

    Raises:
        ConfigError: A value is out of range, or the teacher is missing or of other classes or images.

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
        self._teacher = (_load_teacher(teacher, self),)  # in a tuple, so that it is no module of this one
        self.teacher_classes: list[str] | None = self._teacher[0].metainfo.get('classes')

    def forward(
        self, inputs: Tensor, targets: Tensor | None = None, mode: Literal['loss', 'predict', 'tensor'] = 'tensor'
    ) -> Any:
        """As of :class:`TimmClassifier`, with the distillation loss in mode ``'loss'``."""
        if mode != 'loss':
            return super().forward(inputs, targets, mode)
        logits = self._logits(inputs)
        with torch.no_grad():
            target_logits = self._teacher[0](inputs)
        divergence = soft_target_divergence(logits, target_logits, self.temperature)
        return {'loss': (1 - self.weight) * self._loss(logits, targets) + self.weight * divergence}

    def _apply(self, fn: Any, *args: Any, **kwargs: Any) -> 'DistilledClassifier':
        """Moves the teacher along to another device or type."""
        self._teacher[0]._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)

    def deployed_config(self, config: dict[str, Any]) -> dict[str, Any]:
        """As of :class:`TimmClassifier`, without the teacher."""
        return super().deployed_config(self.without_teacher(config))

    @staticmethod
    def without_teacher(config: dict[str, Any]) -> dict[str, Any]:
        """The config of the same network without its teacher."""
        return {
            **{key: value for key, value in config.items() if key not in ('teacher', 'weight', 'temperature')},
            'type': 'TimmClassifier',
        }


def _load_teacher(path: str, student: TimmClassifier) -> BaseModel:
    teacher = load_exported(Path(path))
    if getattr(teacher, 'num_classes', None) != student.num_classes:
        raise ConfigError(
            f'teacher {path!r} has {getattr(teacher, "num_classes", "unknown")} classes and the model '
            f'{student.num_classes}; give a teacher of the same data'
        )
    for name in ('mean', 'std'):
        if not torch.equal(getattr(teacher.data_preprocessor, name), getattr(student.data_preprocessor, name)):
            raise ConfigError(
                f"teacher {path!r} has another {name} of its images; give the model the teacher's mean and std"
            )
    return teacher.requires_grad_(False)
