"""The letter of the paper, with the cosine of adamw_100e.py and without the recipe's distillation."""

_base_ = './cifar10_16px_vit.py'
model = dict(distillation=None)
motivation = dict(policy=dict(_delete_=True, type='ConsecutiveDrop', drops=2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=95, begin=5),
]
