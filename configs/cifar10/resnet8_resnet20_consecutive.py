"""ResNet-8 in ResNet-20 with the motivation condition of the paper."""

_base_ = [
    '../_base_/models/cifar_resnet8_resnet20.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/sgd_164e.py',
    '../_base_/default_runtime.py',
]
motivation = dict(policy=dict(type='ConsecutiveDrop', drops=2))
