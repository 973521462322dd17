"""Images: scikit-learn's digits and everything timm.data.create_dataset opens."""

from motivation.datasets import transforms
from motivation.datasets.digits import DigitsDataset
from motivation.datasets.image_dataset import ImageDataset
from motivation.datasets.loading import collate_images, init_worker
from motivation.datasets.timm_dataset import TimmDataset

__all__ = ['DigitsDataset', 'ImageDataset', 'TimmDataset', 'collate_images', 'init_worker', 'transforms']
