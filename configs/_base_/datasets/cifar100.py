"""CIFAR-100: 50,000 training and 10,000 test images, 32 x 32 pixels, 100 classes; augmented like CIFAR-10.

Image folders data/cifar100/{train,test}/<class>/, or, with dataset.name='torch/cifar100' and dataset.download=True of
every data loader, torchvision's copy.
"""

_base_ = './cifar10.py'
data_root = 'data/cifar100'
train_dataloader = dict(dataset=dict(root=data_root))
val_dataloader = dict(dataset=dict(root=data_root))
test_dataloader = val_dataloader
