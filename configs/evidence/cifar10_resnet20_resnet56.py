"""The study on CIFAR-10 with ResNet-20 in ResNet-56, 164 epochs; its own config is the recipe."""

_base_ = '../cifar10/resnet20_resnet56_recipe.py'
train_cfg = dict(val_interval=4)
val_evaluator = test_evaluator = [dict(type='Accuracy'), dict(type='CrossEntropy')]
# The last arms: the paper's letter, each model alone with its cosine, and each alone for the FLOPs of the recipe.
comparison = dict(seeds=[0, 1, 2, 3, 4], metric='accuracy/top1', arms=[
    'never', 'always', 'config', 'matched:arm=config,windows=10', 'distillation', 'cifar10_letter.py',
    'cifar10_letter.py:motivation.policy.type=Never', 'cifar10_letter.py:motivation.policy.type=Always',
    'never:max_epochs=151%', 'always:max_epochs=49%',
])  # fmt: skip
