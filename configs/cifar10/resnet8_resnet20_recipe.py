"""ResNet-8 in ResNet-20 by the recipe: the paper's condition, distillation on motivated batches, a stable-decay schedule."""

_base_ = [
    '../_base_/models/cifar_resnet8_resnet20.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/wsd.py',
    '../_base_/default_runtime.py',
]
model = dict(distillation=dict(weight=0.5), channels_last=True)
motivation = dict(policy=dict(type='ConsecutiveDrop', drops=2))
