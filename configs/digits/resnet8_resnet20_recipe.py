"""The digits by the recipe: distillation on motivated batches and a stable-decay schedule.

motivation train motivation::digits/resnet8_resnet20_recipe.py
"""

_base_ = './resnet8_resnet20_consecutive.py'
model = dict(distillation=dict(weight=0.5))
param_scheduler = [
    dict(type='LinearLR', start_factor=1.0, end_factor=0.0, begin=24, end=40, convert_to_iter_based=True)
]
