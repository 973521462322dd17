"""ResNet-20 alone, the baseline of the base model."""

_base_ = './resnet20_resnet56_consecutive.py'
motivation = dict(policy=dict(_delete_=True, type='Never'))
