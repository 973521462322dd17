"""The quickstart: handwritten digits, with the motivated model active after two consecutive drops of the loss.

motivation train motivation::digits/resnet8_resnet20_consecutive.py
"""

_base_ = [
    '../_base_/models/cifar_resnet8_resnet20.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/sgd_40e.py',
    '../_base_/default_runtime.py',
]
# Greyscale images; mean and standard deviation of the training images.
model = dict(
    base=dict(in_chans=1, mean=[0.3054], std=[0.3760]), motivated=dict(in_chans=1, mean=[0.3054], std=[0.3760])
)
motivation = dict(policy=dict(type='ConsecutiveDrop', drops=2))
