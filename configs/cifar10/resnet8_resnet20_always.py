"""ResNet-20 alone, the baseline of the motivated model."""

_base_ = './resnet8_resnet20_consecutive.py'
motivation = dict(policy=dict(_delete_=True, type='Always'))
