"""A ViT in a wider one by the recipe: the paper's condition, distillation on motivated batches, a stable-decay schedule."""

_base_ = [
    '../_base_/models/vit_tiny_small.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/adamw_wsd_100e.py',
    '../_base_/default_runtime.py',
]
model = dict(distillation=dict(weight=0.5))
motivation = dict(policy=dict(type='ConsecutiveDrop', drops=2))
