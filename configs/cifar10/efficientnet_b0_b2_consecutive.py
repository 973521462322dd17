"""EfficientNet-B0 in EfficientNet-B2 with the motivation condition of the paper."""

_base_ = [
    '../_base_/models/efficientnet_b0_b2.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/sgd_164e.py',
    '../_base_/default_runtime.py',
]
motivation = dict(policy=dict(type='ConsecutiveDrop', drops=2))
