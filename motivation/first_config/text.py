"""Writing the choices as a config, with a comment on every one."""

from typing import Any

from motivation.datasets.image_files import shortlist
from motivation.errors import counted, listed
from motivation.first_config.data import Data
from motivation.first_config.look import Look
from motivation.first_config.plan import UNBALANCED, Plan

_TEMPLATE = '''\
"""{base} in {motivated} on the images of {source}.

Written by 'motivation init', to be read and changed: docs/fields.md has every field.

    motivation check {path}
    motivation train {path}
"""

# Logs, checkpoints, exported models and the report, as every run has them.
_base_ = 'motivation::_base_/default_runtime.py'

{classes}
num_classes = {num_classes}

# Pixels on a side that the models get. The images are {sizes}.
image_size = {image_size}

# {train} to train on, so an epoch has {batches}; the learning rate below follows this number. More epochs
# cost more and are usually better: CIFAR-10 gets 164.
epochs = {epochs}

model = dict(
    type='DualModel',
    # The base model, which trains on every batch: {base_parameters} parameters.
    base={base_config},
    # The motivated model contains it, and trains while the loss keeps falling: {motivated_parameters} parameters.
    motivated={motivated_config},
    # {tensors}: the base model is {coverage:.0%} of the motivated model.
    weight_map=dict(type='AutoMap'),
    # On batches of the motivated model the base also learns from its outputs; 0 is the method as published.
    distillation=dict(weight=0.5),
)
# Fine-tuning: pretrained=True in base, motivated or both, and start='base' or start='motivated' in model; see
# docs/pretrained.md.

# Wakes the motivated model after two drops of the loss in a row.
motivation = dict(policy=dict(type='ConsecutiveDrop', drops=2))

# {augmentation}
train_transforms = {train_transforms}

# Validation sees the middle of every image.
val_transforms = {val_transforms}

train_dataloader = dict(
    # A step of the motivated model keeps about {memory:,.1f} MiB an image. With another size, scale the learning rate alike.
    batch_size={batch_size},
    # {workers_reason}
    num_workers={workers},
    sampler=dict(type='DefaultSampler', shuffle=True),{drop_last}
    # {modes_reason}
    dataset={train_dataset},
)
val_dataloader = dict(
    batch_size={val_batch_size},
    num_workers={workers},
    sampler=dict(type='DefaultSampler', shuffle=False),
    # {val}.
    dataset={val_dataset},
)
# {test}
test_dataloader = {test_dataloader}

{metrics}
test_evaluator = val_evaluator

# {optimizer_reason}
optim_wrapper = {optimizer}

# Stable-decay: a constant rate, which lets the models differ, and a fall to 0 over the last 40 % of the epochs.
param_scheduler = [
    {warmup}dict(
        type='LinearLR', start_factor=1.0, end_factor=0.0, begin=round(0.6 * epochs), end=epochs,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=epochs)
val_cfg = dict()
test_cfg = dict()
'''

# Decoded images of this many bytes are kept in memory only if all have one size; above it workers read them.
_WORKERS_FROM = 2000


def config_text(path: str, data: Data, look: Look, plan: Plan) -> str:
    """Return the text of a config.

    Args:
        path: Where it will stand.
        data: The images.
        look: What they look like.
        plan: The choices.
    """
    built, size = plan.built, 'image_size'
    sets = {'train': data.train, 'val': data.val, 'test': data.test}
    common: dict[str, Any] = {'image_mode': 'L'} if look.is_grey else {}
    if look.unreadable:
        common['on_error'] = 'skip'
    workers = 4 if len(data.train.chosen) >= _WORKERS_FROM else 0
    is_small = plan.image_size < 48
    parameters = {
        name: f'{sum(parameter.numel() for parameter in getattr(built, name).parameters()):,}'
        for name in ('base', 'motivated')
    }
    remainder = len(data.train.chosen) % plan.batch_size
    separate_test = data.test is not data.val
    return _TEMPLATE.format(
        path=path,
        source=data.source,
        base=plan.models[0],
        motivated=plan.models[1],
        classes=_classes_comment(data, plan),
        num_classes=len(data.classes),
        sizes=look.size_text(),
        image_size=plan.image_size,
        train=counted(len(data.train.chosen), 'image'),
        batches=counted(plan.batches, 'batch'),
        epochs=plan.epochs,
        base_parameters=parameters['base'],
        motivated_parameters=parameters['motivated'],
        base_config=_call(plan.model['base'], num_classes='num_classes', img_size=size),
        motivated_config=_call(plan.model['motivated'], num_classes='num_classes', img_size=size),
        tensors=counted(len(built.weight_map.pairs), 'shared tensor'),
        coverage=built.weight_map.coverage,
        augmentation='Random crops and flips; take the flip out if left and right differ, as in letters.',
        train_transforms=_list(
            (
                f"dict(type='RandomResizedCrop', size=[{size}, {size}], scale=({0.6 if is_small else 0.35}, 1.0), antialias=True)",
                "dict(type='RandomHorizontalFlip')",
            )
        ),
        val_transforms=_list(
            (f"dict(type='Resize', size={size}, antialias=True)", f"dict(type='CenterCrop', size={size})")
        ),
        memory=plan.memory / 2**20,
        batch_size=plan.batch_size,
        workers=workers,
        workers_reason=(
            'Processes that read images.'
            if workers
            else 'Few images, which this process reads itself; processes cost a start.'
        ),
        drop_last=(
            '\n    # The last batch would be one image, which a batch norm cannot train on.\n    drop_last=True,'
            if remainder == 1
            else ''
        ),
        modes_reason=_modes_reason(look),
        train_dataset=_dataset({**sets['train'].dataset, **common}, 'train_transforms'),
        val_batch_size=2 * plan.batch_size,
        val=f'{counted(len(data.val.chosen), "image")} to validate on',
        val_dataset=_dataset({**sets['val'].dataset, **common}, 'val_transforms'),
        test=(
            f'{counted(len(data.test.chosen), "image")} for motivation test.'
            if separate_test
            else 'There are no further images, so motivation test uses those of validation.'
        ),
        test_dataloader=(
            f'dict(\n    batch_size={2 * plan.batch_size},\n    num_workers={workers},\n'
            "    sampler=dict(type='DefaultSampler', shuffle=False),\n    dataset="
            + _dataset({**sets['test'].dataset, **common}, 'val_transforms')
            + ',\n)'
            if separate_test
            else 'val_dataloader'
        ),
        metrics=_metrics(data, plan),
        **_optimization(plan),
    )


def _call(fields: dict[str, Any], **variables: str) -> str:
    """Return a dict of a config as text, on one line.

    Args:
        fields: Its fields.
        **variables: Names of variables that stand for the values of fields.
    """
    return f'dict({", ".join(f"{name}={variables.get(name, repr(value))}" for name, value in fields.items())})'


def _dataset(fields: dict[str, Any], transforms: str) -> str:
    """Return the config of a dataset as text, a field a line."""
    lines = [f'{name}={value!r}' for name, value in fields.items()] + [f'transforms={transforms}']
    return 'dict(\n' + ''.join(f'        {line},\n' for line in lines) + '    )'


def _list(items: tuple[str, ...]) -> str:
    return '[\n' + ''.join(f'    {item},\n' for item in items) + ']'


def _classes_comment(data: Data, plan: Plan) -> str:
    shown = [
        f'{listed(name, beside_numbers=True)} {count:,}' for name, count in zip(data.classes, plan.counts, strict=True)
    ]
    more = f' and {len(shown) - 12:,} more' if len(shown) > 12 else ''
    return f'# Training images of each class: {", ".join(shown[:12])}{more}.'.replace('\n', ' ')


def _modes_reason(look: Look) -> str:
    if look.unreadable:
        return (
            f'Images that cannot be read are left out and named in the log, such as {shortlist(look.unreadable[:1])}.'
        )
    if look.is_grey:
        return 'All images are grey, so that one channel is enough.'
    return f'Read as RGB, whatever their mode ({look.mode_text()}); transparency is dropped.'


def _metrics(data: Data, plan: Plan) -> str:
    accuracy = f"dict(type='Accuracy', topk={(1, 5) if len(data.classes) > 5 else (1,)})"
    if plan.imbalance < UNBALANCED:
        return f'val_evaluator = {accuracy}'
    return f"""\
# Unbalanced: the largest class has {plan.imbalance:.1f} times as many images as the smallest. So the mean accuracy of
# the classes stands beside the accuracy of all images. With loss=dict(type='CrossEntropyLoss', class_weights='auto')
# in both models the classes weigh alike in training as well, which helps the rare ones at the expense of the others.
val_evaluator = [
    {accuracy},
    dict(type='TorchMetric', metric='Accuracy', average='macro'),
]"""


def _optimization(plan: Plan) -> dict[str, str]:
    rate = f'{plan.learning_rate:.3g}'
    if plan.has_adam:
        return {
            'optimizer_reason': f'AdamW for networks with layer norms; 0.001 for batches of 128, so {rate} for {plan.batch_size}.',
            'optimizer': f"dict(optimizer=dict(type='AdamW', lr={rate}, weight_decay=0.05), clip_grad=dict(max_norm=1.0))",
            'warmup': "dict(type='LinearLR', start_factor=0.01, end=min(5, round(0.1 * epochs)), convert_to_iter_based=True),\n    ",
        }
    return {
        'optimizer_reason': f'SGD for networks with batch norms; 0.1 for batches of 128, so {rate} for {plan.batch_size}.',
        'optimizer': f"dict(optimizer=dict(type='SGD', lr={rate}, momentum=0.9, weight_decay=5e-4))",
        'warmup': '',
    }
