"""The study on CIFAR-10 with a ViT in a wider one, 100 epochs; its own config is the recipe."""

_base_ = [
    '../_base_/models/vit_tiny_small.py', '../_base_/datasets/cifar10.py',
    '../_base_/schedules/adamw_wsd_100e.py', '../_base_/default_runtime.py', './_base_/recipe.py',
]  # fmt: skip
model = dict(distillation={{_base_._distillation}})
train_cfg = dict(val_interval=4)
# The last arms: the paper's letter, each model alone with its cosine, and each alone for the FLOPs of the recipe.
comparison = dict(arms=[
    'never', 'always', 'config', 'matched:arm=config', 'distillation', 'vit_letter.py',
    'vit_letter.py:motivation.policy.type=Never', 'vit_letter.py:motivation.policy.type=Always',
    'never:max_epochs=163%', 'always:max_epochs=43%',
])  # fmt: skip
