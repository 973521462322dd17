"""The measurements of docs/choices.md and configs/cifar10/README.md: the paper's letter, for 12 of the study's 60 epochs."""

_base_ = './cifar10_16px_letter.py'
own = 'config:model.base.zero_init_last=False,model.motivated.zero_init_last=False,model.extension='
comparison = dict(epochs=12, seeds=[0, 1, 2], arms=[
    'never', 'always', 'config', 'matched:windows=10', 'consecutive:drops=1', 'consecutive:drops=3', 'distillation',
    'never:max_epochs=138%', 'always:max_epochs=42%', 'config:model.distillation.weight=0.5', f'{own}zero',
    'config:model.statistics=shared', 'config:model.statistics=shared,model.recalibrate=2000', f'{own}default',
    'config:model.recalibrate=2000', 'config:model.optimizer_state=transfer',
])  # fmt: skip
