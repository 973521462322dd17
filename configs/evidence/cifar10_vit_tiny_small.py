"""The study on CIFAR-10 with a ViT in a wider one, 100 epochs; its own config is the recipe."""

_base_ = '../cifar10/vit_tiny_small_recipe.py'
train_cfg = dict(val_interval=4)
val_evaluator = test_evaluator = [dict(type='Accuracy'), dict(type='CrossEntropy')]
# The last arms: the paper's letter, each model alone with its cosine, and each alone for the FLOPs of the recipe.
comparison = dict(seeds=[0, 1, 2, 3, 4], metric='accuracy/top1', arms=[
    'never', 'always', 'config', 'matched:arm=config,windows=10', 'distillation', 'vit_letter.py',
    'vit_letter.py:motivation.policy.type=Never', 'vit_letter.py:motivation.policy.type=Always',
    'never:max_epochs=163%', 'always:max_epochs=43%',
])  # fmt: skip
