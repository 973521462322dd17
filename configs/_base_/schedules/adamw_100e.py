"""100 epochs of AdamW with 5 epochs of warm-up and a cosine, to train transformers from scratch on small images."""

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=95, begin=5),
]
train_cfg = dict(max_epochs=100)
val_cfg = dict()
test_cfg = dict()
