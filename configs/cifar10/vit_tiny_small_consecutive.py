"""A ViT in a wider one, with the motivation condition of the paper."""

_base_ = [
    '../_base_/models/vit_tiny_small.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/adamw_100e.py',
    '../_base_/default_runtime.py',
]
motivation = dict(policy=dict(type='ConsecutiveDrop', drops=2))
