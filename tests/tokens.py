"""A tiny transformer over token sequences, data for it, and a config that trains it."""

import torch
from mmengine.config import Config
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch import nn
from torch.nn import functional as F

from motivation.models import DualModel
from motivation.registry import DATASETS, MODELS
from tests.conftest import digits_config

LENGTH, TOKENS, HEAD_WIDTH = 8, 3, 16


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.heads = width // HEAD_WIDTH

    def forward(self, x, mask):
        samples, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(samples, length, 3, self.heads, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*qkv.unbind(0), attn_mask=mask)
        x = x + self.proj(mixed.transpose(1, 2).reshape(samples, length, width))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


@MODELS.register_module(force=True)
class TokenClassifier(BaseModel):
    """A transformer that classifies the most frequent token of a sequence, without padding if there is a mask."""

    def __init__(self, width, layers, masked=False, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.embed = nn.Embedding(TOKENS, width)
        self.position = nn.Parameter(0.1 * torch.randn(1, LENGTH, width))
        self.layers = nn.ModuleList(Block(width) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, TOKENS)
        self.masked = masked
        self.num_classes = TOKENS
        self.loss = nn.CrossEntropyLoss()

    def example_batch(self, samples):
        batch = {'inputs': torch.randint(TOKENS, (samples, LENGTH)), 'targets': torch.randint(TOKENS, (samples,))}
        return {**batch, 'mask': torch.ones(samples, LENGTH, dtype=torch.bool)} if self.masked else batch

    def forward(self, inputs, targets=None, mask=None, mode='tensor'):
        x = self.embed(inputs) + self.position
        seen = None if mask is None else mask[:, None, None, :]
        for layer in self.layers:
            x = layer(x, seen)
        x = self.norm(x)
        pooled = x.mean(dim=1) if mask is None else (x * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        logits = self.head(pooled)
        if mode == 'tensor':
            return logits
        if mode == 'loss':
            return {'loss': self.loss(logits, targets)}
        return [{'logits': row, 'target': target} for row, target in zip(logits, targets, strict=True)]


@MODELS.register_module(force=True)
class StackingPreprocessor(BaseDataPreprocessor):
    """Stacks the lists that MMEngine's pseudo_collate returns."""

    def forward(self, data, training=False):
        return self.cast_data({name: torch.stack([*map(torch.as_tensor, value)]) for name, value in data.items()})


@DATASETS.register_module(force=True)
class MostFrequent(torch.utils.data.Dataset):
    """Random token sequences, whose class is the token that occurs five times."""

    def __init__(self, samples, seed, masked=False, length=LENGTH):
        generator = torch.Generator().manual_seed(seed)
        self.samples = []
        for number in range(samples):
            target = number % TOKENS
            others = torch.randint(1, TOKENS, (length - 5,), generator=generator).add(target) % TOKENS
            tokens = torch.cat([torch.full((5,), target), others])
            sample = {'inputs': tokens[torch.randperm(length, generator=generator)], 'targets': target}
            self.samples.append({**sample, 'mask': torch.arange(LENGTH) < LENGTH - 1} if masked else sample)

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


def model_config(base=(16, 1), motivated=(32, 2), **fields):
    return dict(
        type='DualModel',
        base=dict(type='TokenClassifier', width=base[0], layers=base[1], **fields),
        motivated=dict(type='TokenClassifier', width=motivated[0], layers=motivated[1], **fields),
    )


def tokens_config(work_dir, epochs=2, masked=False, preprocessor=None, collate=None, policy=None, **options):
    """Return the quickstart config with token models and data."""
    config = digits_config(work_dir, epochs, meter=True)
    plain = config._cfg_dict.to_dict()
    plain['model'] = model_config(masked=masked, data_preprocessor=preprocessor)
    for stage, samples, seed in (('train', 66, 0), ('val', 30, 1), ('test', 30, 1)):
        loader = plain[f'{stage}_dataloader']
        loader['dataset'] = dict(type='MostFrequent', samples=samples, seed=seed, masked=masked)
        loader['batch_size'] = 8
        loader.pop('num_batch_per_epoch', None)
        if collate is not None:
            loader['collate_fn'] = dict(type=collate)
    plain['val_evaluator'] = plain['test_evaluator'] = dict(type='Accuracy', topk=(1, 2))
    plain['motivation'] = dict(policy=policy or dict(type='ConsecutiveDrop', drops=1))
    config = Config(plain, filename=config.filename)
    config.merge_from_dict(options)
    return config


def dual_model(**kwargs):
    torch.manual_seed(0)
    return DualModel(**{key: value for key, value in model_config(**kwargs).items() if key != 'type'})
