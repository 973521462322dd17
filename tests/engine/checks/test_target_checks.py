"""Runs with each kind of loss and sampler: what they count, how they resume, what they refuse."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from sklearn.utils.class_weight import compute_class_weight

from motivation.config.checks import check_config
from motivation.datasets.targets import labels_of
from motivation.engine.checks import target_checks
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.export.exported_model import load_exported
from motivation.hooks import MotivationHook
from motivation.policies import SwitchPolicy
from motivation.registry import DATASETS, LOSSES, POLICIES
from motivation.utils.checkpoint import find_checkpoints, read_checkpoint
from tests.conftest import snapshot, train
from tests.datasets.test_samplers import Labelled
from tests.engine.resuming_runs import Stop
from tests.several_labels import several_labels
from tests.small import BARE, small_config

UNBALANCED = {
    'train_dataloader.dataset': dict(_delete_=True, type='UnbalancedDigits', split='train'),
    'train_dataloader.batch_size': 16,
}


def losses(kind, **arguments):
    return {f'model.{name}.loss': dict(type=kind, **arguments) for name in ('base', 'motivated')}


def sampler(kind, **arguments):
    return {'train_dataloader.sampler': dict(_delete_=True, type=kind, **arguments)}


RUNS = {
    'class weights': {
        **UNBALANCED,
        **losses('CrossEntropyLoss', class_weights='auto'),
        **sampler('WeightedSampler', class_weights=[float(digit + 1) for digit in range(10)]),
    },
    'binary': {
        **UNBALANCED,
        **losses('BinaryCrossEntropyLoss', pos_weight='auto', target_threshold=0.2),
        **sampler('BalancedSampler', samples_per_epoch=96),
        'train_dataloader.type': 'DeviceDataLoader',
        'model.distillation.weight': 0.5,
    },
    'several labels': {
        **several_labels(pos_weight='auto'),
        **sampler('RepeatAugSampler'),
        **{f'model.{name}.mixup.cutmix_alpha': 1.0 for name in ('base', 'motivated')},
        'model.distillation.weight': 0.5,
        'motivation.policy': dict(_delete_=True, type='HeldInDrop', drops=1, every=2, images=32),
    },
    'asymmetric': {
        **several_labels('AsymmetricLoss'),
        **sampler('BalancedSampler'),
        'train_dataloader.num_workers': 1,
        'motivation.policy': dict(_delete_=True, type='LearningProgress', drops=1, reference='zero'),
    },
}


def config(folder, **options):
    awake = {'motivation.policy': dict(_delete_=True, type='Periodic', on=1, off=1)}
    bare = {name: value for name, value in BARE.items() if name != 'default_hooks.export'}
    saving = {'default_hooks.checkpoint.every_iters': 1}
    return small_config(folder, 1, **{**bare, **awake, **saving, 'train_dataloader.num_batch_per_epoch': 6, **options})


@pytest.mark.parametrize('kind', RUNS)
def test_run_stopped_within_an_epoch_resumes_bit_identically(tmp_path, kind):
    whole = train(config(tmp_path / 'whole', **RUNS[kind]))
    stopped = DualModelRunner.from_cfg(config(tmp_path / 'run', **RUNS[kind]))
    stopped.register_hook(Stop(3))
    with pytest.raises(InterruptedError):
        stopped.train()
    rest = config(tmp_path / 'run', **RUNS[kind])
    rest.resume = True
    resumed = train(rest)
    traces = [runner.find_hook(MotivationHook).trace.losses.tolist() for runner in (whole, resumed)]
    assert traces[0] == traces[1] and len(traces[0]) == 6 and np.isfinite(traces[0]).all()
    tensors = snapshot(resumed.model)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in snapshot(whole.model).items())


@pytest.fixture(scope='module')
def counted(tmp_path_factory):
    """A run whose class weights are counted, and the weights by scikit-learn."""
    folder = tmp_path_factory.mktemp('counted') / 'run'
    runner = train(config(folder, **RUNS['class weights']))
    labels = np.array(runner.train_dataloader.dataset.source.targets)
    return runner, compute_class_weight('balanced', classes=np.arange(10), y=labels)


def test_counted_weights_are_those_of_the_training_data_in_checkpoint_and_export(counted):
    runner, expected = counted
    assert runner.model.base.loss.weights().tolist() == pytest.approx(expected)
    saved = read_checkpoint(find_checkpoints(Path(runner.work_dir))[-1])
    assert saved['class_weights'].keys() == {'base.loss.class_weights', 'motivated.loss.class_weights'}
    assert saved['class_weights']['base.loss.class_weights'].tolist() == pytest.approx(expected)
    exported = load_exported(f'{runner.work_dir}/motivated.pth')  # without the data
    assert exported.loss.weights().tolist() == pytest.approx(expected)
    assert not any('weights' in name for name in exported.state_dict())


def test_resumed_run_has_the_saved_weights_unless_its_data_change(tmp_path, counted, monkeypatch):
    shutil.copytree(counted[0].work_dir, tmp_path / 'run')
    other = [0.0] * 10

    def halved(dataset):
        other[:] = [1.0]
        labels = labels_of(dataset)
        return torch.cat([labels, labels[labels == 0]])

    monkeypatch.setattr('motivation.engine.checks.target_checks.labels_of', halved)
    again = config(tmp_path / 'run', **RUNS['class weights'])
    again.resume = True
    assert train(again).model.base.loss.weights().tolist() == pytest.approx(counted[1]) and other == [1.0]
    changed = {
        **RUNS['class weights'],
        'train_dataloader.dataset.transforms': [dict(type='RandomVerticalFlip')],
    }
    again = config(tmp_path / 'run', **changed)
    again.resume = again.allow_changes = True
    assert train(again).model.base.loss.weights().tolist() != pytest.approx(counted[1])


def refused(tmp_path, **options):
    built = config(tmp_path / 'run', **options)
    with pytest.raises(ConfigError) as caught:
        check_config(built)
        train(built)
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ('kind', 'arguments', 'warns'),
    [
        ('BalancedSampler', {}, True),
        ('WeightedSampler', dict(class_weights=[1.0]), True),
        ('WeightedSampler', dict(sample_weights=[1.0]), False),
        ('DefaultSampler', dict(shuffle=True), False),
    ],
)
def test_classes_that_are_balanced_twice_are_warned_of(kind, arguments, warns, monkeypatch):
    said = []
    monkeypatch.setattr(target_checks, 'print_log', lambda text, *_: said.append(text))
    models = {name: torch.nn.Module() for name in ('base', 'motivated')}
    for model in models.values():
        model.loss = LOSSES.build(dict(type='CrossEntropyLoss', num_classes=3, class_weights='auto'))
        model.weight = torch.nn.Parameter(torch.zeros(1))
    log = SimpleNamespace(info=lambda text: None)
    loader = Config(dict(train_dataloader=dict(sampler=dict(type=kind, **arguments))))
    runner = SimpleNamespace(
        model=torch.nn.ModuleDict(models),
        cfg=loader,
        logger=log,
        checkpointer=SimpleNamespace(register=lambda *_: None),
    )
    runner.model.base, runner.model.motivated = models.values()
    target_checks.CountedWeights(runner).count(runner, Labelled([0, 1, 2, 2]))
    assert len(said) == warns
    assert not warns or said[0].startswith(
        f"model.base.loss.class_weights is 'auto', and train_dataloader.sampler is {kind}:"
    )


@DATASETS.register_module(force=True)
class WithoutNines(DATASETS.get('UnbalancedDigits')):
    """Digits that lack a class which they name."""

    def __init__(self, split, transforms=()):
        super().__init__(split, transforms)
        self.source.targets = [min(target, 8) for target in self.source.targets]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            losses('MultiLabelLoss'),
            'model.base.loss and model.motivated.loss are MultiLabelLoss, for several labels an image, and '
            "train_dataloader.dataset gives one; write loss=dict(type='BinaryCrossEntropyLoss') in both models",
        ),
        (
            several_labels('CrossEntropyLoss'),
            'model.base.loss and model.motivated.loss are CrossEntropyLoss, for one label an image, and train_dataloader.dataset '
            "gives several; write loss=dict(type='MultiLabelLoss') in both models, or another for several: AsymmetricLoss",
        ),
        (
            {**several_labels('MultiLabelLoss'), 'model.motivated.loss': dict(type='CrossEntropyLoss')},
            'model.motivated.loss is CrossEntropyLoss, for one label an image, and train_dataloader.dataset gives several; '
            "write loss=dict(type='MultiLabelLoss') in model.motivated, or another",
        ),
        (
            {
                **UNBALANCED,
                **losses('CrossEntropyLoss', class_weights='auto'),
                'train_dataloader.dataset': dict(_delete_=True, type='WithoutNines', split='train'),
            },
            "model.base.loss.class_weights is 'auto', and class '9' has 0 of the",
        ),
        (
            losses('CrossEntropyLoss', class_weights=[1.0]),
            'model.base.loss.class_weights has 1 numbers, and the model 10 classes',
        ),
        (losses('CrossEntropyLos'), "model.base.loss.type is 'CrossEntropyLos', which is not registered; did you mean"),
        (
            losses('BCE'),
            "model.base.loss.type is 'BCE', which is not registered; there is AsymmetricLoss, BinaryCrossEntropyLoss, ",
        ),
        (
            losses('CrossEntropyLoss', class_weight=[1.0]),
            "model.base.loss.class_weight is not an argument of CrossEntropyLoss; did you mean 'class_weights'",
        ),
        (losses('CrossEntropyLoss', label_smoothing=0.1), "model.base.loss.label_smoothing is the model's; write"),
        (sampler('WeightedSampler'), 'train_dataloader.sampler.class_weights is None, sample_weights is None'),
        (
            {**sampler('WeightedSampler', class_weights=[1.0]), 'train_dataloader.num_batch_per_epoch': None},
            'train_dataloader.sampler.class_weights has 1 numbers, and the data has 10 classes',
        ),
        (
            sampler('BalancedSampler', samples_per_epoch=0),
            'train_dataloader.sampler.samples_per_epoch must be at least 1',
        ),
        (
            {
                **losses('CrossEntropyLoss'),
                'model.base.loss.type': 'BinaryCrossEntropyLoss',
                'model.distillation.weight': 0.5,
            },
            'model.base.loss and motivated.loss are BinaryCrossEntropyLoss and CrossEntropyLoss, whose outputs mean different',
        ),
    ],
)
def test_mistake_is_named_before_the_first_batch(tmp_path, options, message):
    assert refused(tmp_path, **options).startswith(message)


@POLICIES.register_module(force=True)
class SeesShareOfRightLabels(SwitchPolicy):
    """Keeps the accuracy of every batch."""

    def __init__(self):
        self.seen = []

    def update(self, loss, accuracy):
        self.seen.append(accuracy)
        return False


def test_accuracy_of_several_labels_is_the_share_of_right_answers(tmp_path):
    options = {**several_labels(), 'motivation.policy': dict(_delete_=True, type='SeesShareOfRightLabels')}
    runner, expected = DualModelRunner.from_cfg(config(tmp_path / 'run', **options)), []

    def keep(module, inputs):
        if torch.is_grad_enabled():
            logits, targets = (value.detach().numpy() for value in inputs)
            expected.append(((logits > 0) == (targets == 1)).mean())

    runner.model.base.loss.register_forward_pre_hook(keep)
    runner.train()
    assert runner.model.motivation.policy.seen == pytest.approx(expected) and len(expected) == 6
