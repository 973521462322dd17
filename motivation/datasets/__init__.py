"""Datasets of images with class labels: scikit-learn's digits and everything timm.data.create_dataset opens."""

from motivation.datasets import timm_transform, transforms
from motivation.datasets.digits import DigitsDataset
from motivation.datasets.image_dataset import BadImageError, ImageDataset, check_labels, class_names
from motivation.datasets.loading import Batch, collate_images, collate_of, first_batch, init_worker
from motivation.datasets.timm_dataset import TimmDataset
from motivation.datasets.wrappers import ConcatDataset, RepeatDataset

__all__ = [
    'BadImageError',
    'Batch',
    'ConcatDataset',
    'DigitsDataset',
    'ImageDataset',
    'RepeatDataset',
    'TimmDataset',
    'check_labels',
    'class_names',
    'collate_images',
    'collate_of',
    'first_batch',
    'init_worker',
    'timm_transform',
    'transforms',
]
