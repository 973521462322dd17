"""Digits with several labels an image, and an unbalanced half of them with one."""

import torch
from mmengine.evaluator import BaseMetric
from torch.utils.data import Dataset

from motivation.datasets import DigitsDataset
from motivation.registry import DATASETS, METRICS

TRAITS = ('odd', 'prime', 'round', 'above six')
_DIGITS = ({1, 3, 5, 7, 9}, {2, 3, 5, 7}, {0, 6, 8, 9}, {7, 8, 9})
OF_DIGIT = torch.tensor([[float(digit in digits) for digits in _DIGITS] for digit in range(10)])


@DATASETS.register_module(force=True)
class DigitTraits(Dataset):
    """Digits labelled with what they are, which 4 is nothing of."""

    def __init__(self, split, transforms=()):
        self.dataset = DigitsDataset(split, transforms)
        self.targets = OF_DIGIT[self.dataset.source.targets]
        self.metainfo = {'classes': list(TRAITS), 'several_labels': True}

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return {**self.dataset[index], 'targets': self.targets[index]}


@METRICS.register_module(force=True)
class ExactMatch(BaseMetric):
    """The share of images whose labels are all right."""

    default_prefix = 'labels'

    def process(self, data_batch, data_samples):
        self.results += [bool(((one['logits'] > 0) == (one['target'] > 0.5)).all()) for one in data_samples]

    def compute_metrics(self, results):
        return {'exact': 100 * sum(results) / len(results)}


@DATASETS.register_module(force=True)
class UnbalancedDigits(DigitsDataset):
    """Digits, of which the lower ones are rarer."""

    def __init__(self, split, transforms=()):
        super().__init__(split, transforms)
        targets = torch.tensor(self.source.targets)
        seen = torch.stack([(targets == digit).cumsum(0) for digit in range(10)])[targets, torch.arange(len(targets))]
        kept = seen <= 20 + 10 * targets
        self.source.images, self.source.targets = self.source.images[kept], targets[kept].tolist()


def several_labels(loss='MultiLabelLoss', stages=('train',), **arguments):
    """Return the options of a run on the traits of digits, of which some stages are validated."""
    options = {f'model.{name}.num_classes': len(TRAITS) for name in ('base', 'motivated')}
    options |= {f'model.{name}.loss': dict(type=loss, **arguments) for name in ('base', 'motivated')}
    for stage in stages:
        split = 'train' if stage == 'train' else 'test'
        options[f'{stage}_dataloader.dataset'] = dict(_delete_=True, type='DigitTraits', split=split)
        if stage != 'train':
            options[f'{stage}_evaluator'] = dict(_delete_=True, type='ExactMatch')
    return options
