"""The study on CIFAR-100 with ResNet-20 in ResNet-56, 164 epochs; its own config is the recipe."""

_base_ = [
    '../_base_/models/cifar_resnet20_resnet56.py', '../_base_/datasets/cifar100.py',
    '../_base_/schedules/wsd.py', '../_base_/default_runtime.py',
]  # fmt: skip
of_100 = dict(num_classes=100)
model = dict(base=of_100, motivated=of_100, distillation=dict(weight=0.5), channels_last=True)
motivation = dict(policy=dict(type='ConsecutiveDrop', drops=2))
train_cfg = dict(val_interval=4)
val_evaluator = test_evaluator = [dict(type='Accuracy'), dict(type='CrossEntropy')]
comparison = dict(seeds=[0, 1, 2, 3, 4], metric='accuracy/top1', arms=[
    'never', 'always', 'config', 'matched:arm=config,windows=10', 'distillation', 'cifar100_letter.py',
    'cifar100_letter.py:motivation.policy.type=Never', 'cifar100_letter.py:motivation.policy.type=Always',
    'never:max_epochs=151%', 'always:max_epochs=49%',
])  # fmt: skip
