"""The letter of the paper, with a cosine and without the recipe's distillation."""

_base_ = './cifar10_16px.py'
model = dict(distillation=None)
motivation = dict(policy=dict(_delete_=True, type='ConsecutiveDrop', drops=2))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=164)]
