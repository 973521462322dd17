"""The study of a pair in width that two CPU cores can run, docs/evidence.md: 5,000 images at 16 pixels, ViT in a ViT."""

_base_ = '../cifar10/vit_tiny_small_recipe.py'
small = dict(type='Resize', size=[16, 16])
model = dict(base=dict(img_size=16, embed_dim=48), motivated=dict(img_size=16, embed_dim=96))
train_dataloader = dict(batch_size=64, dataset=dict(root='data/cifar10_5k', transforms=[
    small, dict(type='RandomCrop', size=16, padding=2), dict(type='RandomHorizontalFlip')]))  # fmt: skip
val_dataloader = dict(dataset=dict(transforms=[small]))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = [dict(type='Accuracy'), dict(type='CrossEntropy')]
train_cfg = dict(val_interval=30)
comparison = dict(epochs=21, seeds=[0, 1, 2, 3, 4], metric='accuracy/top1', arms=[
    'never', 'always', 'config', 'matched:arm=config,windows=10', 'cifar10_16px_vit_letter.py',
    'cifar10_16px_vit_letter.py:motivation.policy.type=Never',
    'cifar10_16px_vit_letter.py:motivation.policy.type=Always', 'always:max_epochs=43%',
])  # fmt: skip
