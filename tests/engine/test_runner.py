"""Complete runs: their results, and that a resumed run equals an uninterrupted one."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from PIL import Image

from motivation.cli import prepare_training
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.export.exported_model import load_exported
from motivation.hooks import ComputeMeterHook, MotivationHook
from motivation.registry import DATASETS, HOOKS
from motivation.utils.checkpoint import find_checkpoints, read_checkpoint
from tests.conftest import DIGITS, digits_config, snapshot, train
from tests.tools.call import call_forked


class RunInterruptedError(Exception):
    pass


@HOOKS.register_module(force=True)
class InterruptAt(Hook):
    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            raise RunInterruptedError


def comparable(runner):
    report = json.loads((Path(runner.work_dir) / 'report.json').read_text())
    report.pop('wall_seconds')
    for name in ('base', 'motivated'):
        for field in ('seconds', 'images_per_second', 'flops_per_second'):
            assert report[name].pop(field, 1) > 0
    trace = runner.find_hook(MotivationHook).trace
    return report, list(trace.losses), list(trace.motivated)


@pytest.mark.parametrize(
    'options',
    [
        {'meter': True},
        {'motivation.policy': dict(_delete_=True, type='RandomGate', rate=0.4), 'train_dataloader.num_workers': 1},
        {'model.statistics': 'shared', 'optim_wrapper.optimizer': dict(_delete_=True, type='AdamW', lr=1e-3)},
        {
            'motivation.policy': dict(
                _delete_=True,
                type='Budget',
                max_fraction=0.5,
                policy=dict(
                    type='Any',
                    # Decided by the validation of the first epoch, which comes before the checkpoint.
                    policies=[
                        dict(type='ValidationGain', min_gain=-100),
                        dict(type='GradientNorm', above=1.2, relative=0.5),
                    ],
                ),
            )
        },
    ],
    ids=['consecutive-sgd', 'random-gate-workers', 'shared-adamw', 'signals'],
)
def test_resumed_run_equals_an_uninterrupted_one(tmp_path, options):
    whole = train(digits_config(tmp_path / 'whole', epochs=3, **options))
    broken = digits_config(tmp_path / 'broken', epochs=3, **options)
    broken.custom_hooks = [dict(type='InterruptAt', iteration=9)]  # within the second epoch
    with pytest.raises(RunInterruptedError):
        train(broken)
    resumed_config = digits_config(tmp_path / 'broken', epochs=3, **options)
    resumed_config.resume = True
    resumed_config.load_from = str(find_checkpoints(tmp_path / 'broken')[-1])
    resumed = train(resumed_config)

    assert comparable(resumed) == comparable(whole)
    assert 0 < sum(comparable(whole)[2]) < 18  # both models trained
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    last = [read_checkpoint(tmp_path / folder / 'epoch_3.pth') for folder in ('whole', 'broken')]
    assert last[0]['policy'] == last[1]['policy']
    for name in ('base', 'motivated'):
        states = [checkpoint['optimizer'][name]['state'] for checkpoint in last]
        assert states[0].keys() == states[1].keys()
        for index, entry in states[0].items():
            for key, value in entry.items():
                assert torch.equal(torch.as_tensor(value), torch.as_tensor(states[1][index][key])), (name, index, key)


def test_run_leaves_logs_reports_and_both_models(tmp_path):
    runner = train(digits_config(tmp_path / 'run', **{'default_hooks.report.picture': True}))
    work_dir = tmp_path / 'run'
    report = json.loads((work_dir / 'report.json').read_text())
    assert {'report.md', 'report.png', 'base.pth', 'motivated.pth', 'epoch_1.pth', 'epoch_2.pth'} <= {
        path.name for path in work_dir.iterdir()
    }
    assert list(work_dir.glob('*/vis_data/events.out.tfevents.*'))
    lines = (next(work_dir.glob('*/vis_data/scalars.json'))).read_text().splitlines()
    steps = [json.loads(line) for line in lines if 'motivated' in json.loads(line)]
    trace = runner.find_hook(MotivationHook).trace
    assert [step['loss'] for step in steps] == list(trace.losses)  # every step is logged
    assert [step['motivated'] for step in steps] == list(trace.motivated)
    assert report['base']['params'] == 77_754 and report['motivated']['params'] == 272_186
    for name in ('base', 'motivated'):
        assert report[name]['metrics']['accuracy/top1'] == report['history'][-1][name]['metrics']['accuracy/top1']
        batch = next(iter(runner.val_dataloader))
        exported = load_exported(work_dir / f'{name}.pth')
        model = getattr(runner.model, name).eval()
        inputs = model.data_preprocessor(batch)['inputs']
        assert torch.equal(exported(inputs), model(inputs))


def test_report_adds_up_to_what_the_trace_says(tmp_path):
    """The totals are computed again from the switch trace and counts made by hand."""
    runner = train(digits_config(tmp_path / 'run', epochs=3, meter=True))
    report = json.loads((tmp_path / 'run/report.json').read_text())
    trace = runner.find_hook(MotivationHook).trace
    motivated = sum(trace.motivated)
    assert len(trace) == 18 and report['motivated']['iters'] == motivated and report['base']['iters'] == 18 - motivated
    assert report['motivated_fraction'] == motivated / 18
    flops = {
        name: 2 * 64 * (report[name]['forward_macs_per_image'] + report[name]['backward_macs_per_image'])
        for name in ('base', 'motivated')
    }
    total = (18 - motivated) * flops['base'] + motivated * flops['motivated']
    assert report['total_train_flops'] == total
    assert report['motivated_alone_train_flops'] == 18 * flops['motivated']
    assert report['saving'] == 18 * flops['motivated'] / total
    # The forward count of ResNet-8 on 8 x 8 grey images, from its widths.
    stem, rest = 64 * 16 * 9, 2 * 64 * 16 * 16 * 9
    rest += 16 * (16 * 32 * 9 + 32 * 32 * 9 + 16 * 32) + 4 * (32 * 64 * 9 + 64 * 64 * 9 + 32 * 64) + 64 * 10
    assert report['base']['forward_macs_per_image'] == stem + rest
    assert report['base']['backward_macs_per_image'] == 2 * (stem + rest) - stem


def test_small_last_batch_is_counted_as_it_is(tmp_path):
    config = digits_config(tmp_path / 'run', epochs=1, meter=True)
    config.train_dataloader.pop('num_batch_per_epoch')
    runner = train(config)
    meter = runner.find_hook(ComputeMeterHook).meter
    works = meter.trained.values()
    assert sum(work.images for work in works) == 1437 and sum(work.iters for work in works) == 23


def test_active_model_follows_the_definition_of_the_method(tmp_path):
    """The decision after batch i holds for batch i + 1; two drops in a row activate, the first rise deactivates."""
    trace = train(digits_config(tmp_path / 'run', epochs=4)).find_hook(MotivationHook).trace
    losses = list(trace.losses)
    expected = [i >= 3 and losses[i - 1] < losses[i - 2] < losses[i - 3] for i in range(len(losses))]
    assert [bool(flag) for flag in trace.motivated] == expected
    assert any(expected)


@pytest.mark.parametrize(('policy', 'motivated'), [('Never', [0] * 12), ('Always', [0] + [1] * 11)])
def test_baselines_train_one_model(tmp_path, policy, motivated):
    runner = train(digits_config(tmp_path / 'run', **{'motivation.policy': dict(_delete_=True, type=policy)}))
    assert list(runner.find_hook(MotivationHook).trace.motivated) == motivated


def test_the_seed_determines_the_run(tmp_path):
    runs = [
        train(digits_config(tmp_path / str(i), epochs=1, **{'randomness.seed': seed}))
        for i, seed in enumerate((0, 0, 1))
    ]
    losses = [list(run.find_hook(MotivationHook).trace.losses) for run in runs]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize('workers', [0, 1])
def test_augmentation_differs_from_epoch_to_epoch(tmp_path, workers):
    """With MMEngine's worker seeds all epochs would have the same crops."""
    config = digits_config(tmp_path / 'run', epochs=3)
    config.train_dataloader.update(num_workers=workers, sampler=dict(type='DefaultSampler', shuffle=False))
    batches = []

    class Keep(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if batch_idx == 0:
                batches.append(data_batch['inputs'].clone())

    config.custom_hooks = []
    runner = DualModelRunner.from_cfg(config)
    runner.register_hook(Keep())
    runner.train()
    assert not torch.equal(batches[0], batches[1]) and not torch.equal(batches[1], batches[2])


def test_checkpoints_are_plain_and_the_newest_are_kept(tmp_path):
    train(digits_config(tmp_path / 'run', epochs=4))
    kept = find_checkpoints(tmp_path / 'run')
    assert [path.name for path in kept] == ['epoch_3.pth', 'epoch_4.pth']
    for path in [*kept, tmp_path / 'run/base.pth', tmp_path / 'run/motivated.pth']:
        assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == []


def test_load_from_loads_weights_and_starts_a_new_run(tmp_path):
    first = train(digits_config(tmp_path / 'first', **{'motivation.policy': dict(_delete_=True, type='Always')}))
    config = digits_config(tmp_path / 'second', epochs=1)
    config.load_from = str(tmp_path / 'first/epoch_2.pth')
    second = train(config)
    trace = second.find_hook(MotivationHook).trace
    assert first.model.active == 'motivated'
    assert len(trace) == 6 and not trace.motivated[0]
    assert trace.losses[0] < first.find_hook(MotivationHook).trace.losses[0] - 0.1


def test_checkpoint_of_other_models_raises(tmp_path):
    train(digits_config(tmp_path / 'first', epochs=1))
    config = digits_config(tmp_path / 'second', epochs=1, **{'model.motivated.model_name': 'cifar_resnet32'})
    config.load_from = str(tmp_path / 'first/epoch_1.pth')
    with pytest.raises(
        ConfigError, match=r"epoch_1\.pth' is of other models: it lacks 'motivated\.backbone\.layer1\.3"
    ):
        train(config)


def test_type_error_in_a_hook_keeps_its_own_traceback(tmp_path):
    class Faulty(Hook):
        def before_train(self, runner):
            return 1 + 'a'

    runner = DualModelRunner.from_cfg(digits_config(tmp_path / 'run'))
    runner.register_hook(Faulty())
    with pytest.raises(TypeError, match=r'^unsupported operand') as caught:
        runner.train()
    assert caught.traceback[-1].name == 'before_train' and caught.traceback[-1].path.name == 'test_runner.py'


@pytest.mark.parametrize('extension', ['default', 'zero'])
def test_training_starts_with_the_weights_that_were_built(tmp_path, extension):
    """MMEngine initialises models before training, which must keep pretrained weights and a zero extension."""
    config = digits_config(tmp_path / 'run', epochs=1, **{'model.extension': extension})
    config.model.base.zero_init_last = config.model.motivated.zero_init_last = False
    runner = DualModelRunner.from_cfg(config)
    built, begun = snapshot(runner.model), {}

    class Look(Hook):
        def before_train(self, runner):
            begun.update(snapshot(runner.model))

    runner.register_hook(Look())
    runner.train()
    assert built.keys() == begun.keys() and all(torch.equal(tensor, begun[name]) for name, tensor in built.items())
    added = begun['motivated.backbone.layer1.2.bn2.weight']
    assert added.any() == (extension == 'default')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'train_cfg.max_epochs': 3}, r"train_cfg\.max_epochs is 3, and was 2 in '.*epoch_1\.pth'"),
        ({'motivation.policy.drops': 3}, r'motivation\.policy\.drops is 3, and was 2'),
        ({'optim_wrapper.optimizer.nesterov': True}, r'optim_wrapper\.optimizer\.nesterov is True, and was left out'),
        ({'randomness.seed': 4}, r'randomness\.seed is 4, and was 0'),
    ],
)
def test_resume_with_another_config_names_the_difference(tmp_path, options, message):
    train(digits_config(tmp_path / 'run'))
    config = digits_config(tmp_path / 'run', **options)
    config.resume, config.load_from = True, str(tmp_path / 'run/epoch_1.pth')
    with pytest.raises(ConfigError, match=message):
        train(config)


def test_schedule_that_begins_after_the_run_raises(tmp_path):
    config = digits_config(tmp_path / 'run', epochs=1)
    config.param_scheduler = [dict(type='CosineAnnealingLR', T_max=5, begin=5)]
    with pytest.raises(
        ConfigError, match=r'param_scheduler does not fit train_cfg\.max_epochs, which is 1: .*param_scheduler=\[\]'
    ):
        train(config)


def test_data_with_another_number_of_classes_raises(tmp_path):
    options = {'model.base.num_classes': 7, 'model.motivated.num_classes': 7}
    config = digits_config(tmp_path / 'run', **options)
    message = r'model\.base\.num_classes is 7, but train_dataloader\.dataset has 10 classes'
    with pytest.raises(ConfigError, match=message):
        train(config)


def test_dataset_without_class_names_trains(tmp_path):
    @DATASETS.register_module(force=True)
    class Nameless(torch.utils.data.Dataset):
        def __len__(self):
            return 128

        def __getitem__(self, index):
            return {'inputs': torch.full((1, 8, 8), index, dtype=torch.uint8), 'targets': index % 10}

    config = digits_config(tmp_path / 'run', epochs=1)
    config.train_dataloader.pop('num_batch_per_epoch')
    config.train_dataloader.dataset = config.val_dataloader.dataset = dict(type='Nameless')
    assert len(train(config).find_hook(MotivationHook).trace) == 2


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        (
            '0123',
            r"class 4 is '4' in train_dataloader\.dataset and absent in val_dataloader\.dataset; both need the same",
        ),
        ('01234567x9', r"class 8 is '8' in train_dataloader\.dataset and '9' in val_dataloader\.dataset"),
    ],
)
def test_validation_data_with_other_classes_raises(tmp_path, classes, message):
    for name in classes:
        folder = tmp_path / 'images/val' / name
        folder.mkdir(parents=True)
        Image.new('L', (8, 8)).save(folder / 'one.png')
    config = digits_config(tmp_path / 'run')
    config.val_dataloader.dataset = dict(type='TimmDataset', root='images', split='val', image_mode='L')
    with pytest.raises(ConfigError, match=message):
        train(config)


PLUGIN = """
from torch import nn
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from motivation.policies import SwitchPolicy
from motivation.registry import DATASETS, HOOKS, MODELS, POLICIES, WEIGHT_MAPS
from motivation.weight_maps import WeightMap

@POLICIES.register_module()
class EveryThird(SwitchPolicy):
    def __init__(self):
        self.batches = 0

    def update(self, loss):
        self.batches += 1
        return self.batches % 3 == 0

    def state_dict(self):
        return {'batches': self.batches}

@WEIGHT_MAPS.register_module()
def first_layer_only(base, motivated):
    return WeightMap(base, motivated, [(name, name) for name in base.state_dict()])

@MODELS.register_module()
class Perceptron(BaseModel):
    def __init__(self, layers):
        super().__init__(data_preprocessor=dict(type='ImagePreprocessor', mean=[0.5], std=[0.5]))
        self.first = nn.Linear(64, 10)
        if layers == 2:
            self.second = nn.Linear(10, 10)
        self.layers = layers

    def forward(self, inputs, targets=None, mode='tensor'):
        logits = self.first(inputs.flatten(1))
        if self.layers == 2:
            logits = logits + self.second(logits.relu())
        if mode == 'loss':
            return {'loss': nn.functional.cross_entropy(logits, targets)}
        if mode == 'predict':
            return [{'logits': row, 'target': target} for row, target in zip(logits, targets)]
        return logits

@HOOKS.register_module()
class Notebook(Hook):
    def after_train(self, runner):
        with open('notebook.txt', 'w') as file:
            file.write(f'{runner.iter} batches')
"""

PLUGIN_CONFIG = f"""
_base_ = {DIGITS!r}
custom_imports = dict(imports=['my_plugin'])
model = dict(
    base=dict(_delete_=True, type='Perceptron', layers=1),
    motivated=dict(_delete_=True, type='Perceptron', layers=2),
    weight_map=dict(_delete_=True, type='first_layer_only'))
motivation = dict(policy=dict(_delete_=True, type='EveryThird'))
custom_hooks = [dict(type='Notebook')]
train_cfg = dict(max_epochs=1)
"""


def test_plugin_in_a_folder_registers_policy_map_model_and_hook(tmp_path):
    (tmp_path / 'my_plugin.py').write_text(PLUGIN)
    (tmp_path / 'mine.py').write_text(PLUGIN_CONFIG)
    done = call_forked('train.py', 'mine.py', '--work-dir', 'run')
    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    report = json.loads((tmp_path / 'run/report.json').read_text())
    assert report['motivated']['iters'] == 7  # batches 4, 7, 10, ... of 23
    assert report['base']['params'] == 650 and report['motivated']['params'] == 760
    assert report['policy'] == 'EveryThird()'
    assert (tmp_path / 'notebook.txt').read_text() == '23 batches'
    assert (tmp_path / 'run/base.pth').exists()


def test_installed_package_registers_through_its_entry_point(tmp_path, monkeypatch):
    package = tmp_path / 'site'
    (package / 'their_plugin-1.0.dist-info').mkdir(parents=True)
    (package / 'their_plugin-1.0.dist-info/METADATA').write_text(
        'Metadata-Version: 2.1\nName: their-plugin\nVersion: 1.0\n'
    )
    (package / 'their_plugin-1.0.dist-info/entry_points.txt').write_text(
        '[motivation.plugins]\ntheirs = their_plugin\n'
    )
    (package / 'their_plugin.py').write_text(
        'from motivation.policies import Always\nfrom motivation.registry import POLICIES\n'
        'POLICIES.register_module(name="TheirPolicy", module=type("TheirPolicy", (Always,), {}), force=True)\n'
    )
    monkeypatch.syspath_prepend(str(package))
    config = prepare_training(
        DIGITS,
        str(tmp_path / 'run'),
        options={
            'motivation.policy': dict(_delete_=True, type='TheirPolicy'),
            'train_cfg.max_epochs': 1,
            'train_dataloader.num_batch_per_epoch': 3,
        },
    )
    assert list(train(config).find_hook(MotivationHook).trace.motivated) == [0, 1, 1]
