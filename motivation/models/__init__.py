"""The dual model and the classifiers it is built from. Importing this package registers cifar_resnet* with timm."""

from motivation.models import cifar_resnet, multi_label_losses
from motivation.models.distilled_classifier import DistilledClassifier
from motivation.models.dual_model import DualModel
from motivation.models.preprocessor import ImagePreprocessor
from motivation.models.timm_classifier import TimmClassifier

__all__ = [
    'DistilledClassifier',
    'DualModel',
    'ImagePreprocessor',
    'TimmClassifier',
    'cifar_resnet',
    'multi_label_losses',
]
