"""The CIFAR schedule of He et al., arXiv 1512.03385, section 4.2, in epochs.

SGD with momentum 0.9 and weight decay 1e-4 at batch size 128. The learning rate of 0.1 is divided by ten
at 32,000 and 48,000 of 64,000 iterations, which are epochs 82 and 123 of 164.
"""

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4))
param_scheduler = [dict(type='MultiStepLR', milestones=[82, 123], gamma=0.1)]
train_cfg = dict(max_epochs=164)
val_cfg = dict()
test_cfg = dict()
