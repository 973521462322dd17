"""Datasets of images with labels: listed in files, in folders, scikit-learn's digits and all that timm opens."""

from motivation.datasets import batch_colours, batch_crops, samplers, timm_erasing, timm_transform, transforms
from motivation.datasets.device_images import DeviceImages
from motivation.datasets.device_loader import DeviceDataLoader
from motivation.datasets.digits import DigitsDataset
from motivation.datasets.image_dataset import BadImageError, ImageDataset, check_labels, class_names
from motivation.datasets.label_file_dataset import LabelFileDataset
from motivation.datasets.loading import (
    Batch,
    collate_images,
    collate_of,
    first_batch,
    init_worker,
    some_at_random,
    spread,
)
from motivation.datasets.stream_images import stream_of
from motivation.datasets.targets import labels_of
from motivation.datasets.timm_dataset import TimmDataset
from motivation.datasets.wrappers import ConcatDataset, RepeatDataset

__all__ = [
    'BadImageError',
    'Batch',
    'ConcatDataset',
    'DeviceDataLoader',
    'DeviceImages',
    'DigitsDataset',
    'ImageDataset',
    'LabelFileDataset',
    'RepeatDataset',
    'TimmDataset',
    'batch_colours',
    'batch_crops',
    'check_labels',
    'class_names',
    'collate_images',
    'collate_of',
    'first_batch',
    'init_worker',
    'labels_of',
    'samplers',
    'some_at_random',
    'spread',
    'stream_of',
    'timm_erasing',
    'timm_transform',
    'transforms',
]
