"""The study that two CPU cores can run, docs/evidence.md: 5,000 images at 16 pixels, ResNet-8 in ResNet-20, 60 epochs."""

_base_ = '../cifar10/resnet8_resnet20_recipe.py'
small = dict(type='Resize', size=[16, 16])
train_dataloader = dict(batch_size=64, dataset=dict(root='data/cifar10_5k', transforms=[
    small, dict(type='RandomCrop', size=16, padding=2), dict(type='RandomHorizontalFlip')]))  # fmt: skip
val_dataloader = dict(dataset=dict(transforms=[small]))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = [dict(type='Accuracy'), dict(type='CrossEntropy')]
train_cfg = dict(val_interval=30)
comparison = dict(epochs=60, seeds=[0, 1, 2, 3, 4], metric='accuracy/top1', arms=[
    'never', 'always', 'config', 'matched:arm=config,windows=10', 'distillation', 'cifar10_16px_letter.py',
    'cifar10_16px_letter.py:motivation.policy.type=Never', 'cifar10_16px_letter.py:motivation.policy.type=Always',
    'never:max_epochs=155%', 'always:max_epochs=47%', 'consecutive:drops=1', 'EpochSchedule:epochs=[(0,None)]',
    'LearningProgress', 'matched:arm=LearningProgress,windows=10',
])  # fmt: skip
