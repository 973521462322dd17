"""The measurements of docs/choices.md: the paper's letter, for 12 of the study's 60 epochs."""

_base_ = './cifar10_16px_letter.py'
own = 'config:model.base.zero_init_last=False,model.motivated.zero_init_last=False,model.extension='
comparison = dict(epochs=12, seeds=[0, 1, 2], arms=[
    'never', 'always', 'config', 'consecutive:drops=1', 'config:model.distillation.weight=0.5',
    'config:model.statistics=shared', 'config:model.statistics=shared,model.recalibrate=2000',
    'config:model.optimizer_state=transfer', f'{own}default', f'{own}zero',
])  # fmt: skip
