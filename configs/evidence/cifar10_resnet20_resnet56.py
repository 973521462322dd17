"""The study on CIFAR-10 with ResNet-20 in ResNet-56, 164 epochs; its own config is the recipe."""

_base_ = [
    '../_base_/models/cifar_resnet20_resnet56.py', '../_base_/datasets/cifar10.py',
    '../_base_/schedules/wsd.py', '../_base_/default_runtime.py', './_base_/recipe.py',
]  # fmt: skip
model = dict(distillation={{_base_._distillation}}, channels_last=True)
train_cfg = dict(val_interval=4)
# The last arms: the paper's letter, each model alone with its cosine, and each alone for the FLOPs of the recipe.
comparison = dict(arms=[
    'never', 'always', 'config', 'matched:arm=config', 'distillation', 'cifar10_letter.py',
    'cifar10_letter.py:motivation.policy.type=Never', 'cifar10_letter.py:motivation.policy.type=Always',
    'never:max_epochs=151%', 'always:max_epochs=49%',
])  # fmt: skip
