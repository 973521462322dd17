"""A stable-decay schedule in place of a cosine or steps, of the length of sgd_164e.py.

A constant learning rate of 0.1, which falls linearly to 0 over the last 40 % of the epochs. While the rate is constant
the motivated model can become its own; a rate that falls from the start leaves it a copy of the base model.
"""

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=1.0, end_factor=0.0, begin=98, end=164, convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=164)
val_cfg = dict()
test_cfg = dict()
