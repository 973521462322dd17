"""ResNet-20 in ResNet-56 by the recipe: the paper's condition, distillation on motivated batches, a stable-decay schedule."""

_base_ = [
    '../_base_/models/cifar_resnet20_resnet56.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/wsd.py',
    '../_base_/default_runtime.py',
]
model = dict(distillation=dict(weight=0.5), channels_last=True)
motivation = dict(policy=dict(type='ConsecutiveDrop', drops=2))
