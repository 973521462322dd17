"""40 epochs of SGD with a cosine schedule from 0.05 to 0, for the digits."""

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=40)]
train_cfg = dict(max_epochs=40)
val_cfg = dict()
test_cfg = dict()
