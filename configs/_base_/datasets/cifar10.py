"""CIFAR-10: 50,000 training and 10,000 test images, 32 x 32 pixels, 10 classes; see ../../cifar10/README.md.

Augmentation of He et al., arXiv 1512.03385, section 4.2: padding by 4 pixels, random crop, random flip. Images are kept
on the training device and augmented there a batch at a time; type='DataLoader' does it image by image on the host.
"""

data_root = 'data/cifar10'
train_dataloader = dict(
    type='DeviceDataLoader',
    batch_size=128,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='TimmDataset',
        root=data_root,
        split='train',
        transforms=[dict(type='RandomCrop', size=32, padding=4), dict(type='RandomHorizontalFlip')],
    ),
)
val_dataloader = dict(
    type='DeviceDataLoader',
    batch_size=256,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='TimmDataset', root=data_root, split='test'),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
