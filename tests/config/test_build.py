"""Errors of a component name its field, at any depth."""

import pytest

from motivation.config.build import build
from motivation.config.read import load_config
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.policies import SwitchPolicy
from motivation.registry import DATASETS, POLICIES
from tests.conftest import DIGITS, train

DROP = dict(type='ConsecutiveDrop', drops=1)
GATE = dict(type='RandomGate', rate=0.5)


@DATASETS.register_module(force=True)
class NoSuchData:
    def __init__(self, size):
        raise ValueError('no data of that size')


@POLICIES.register_module(force=True)
class Twice(SwitchPolicy):
    """Builds its inner policies from its own configs, as a plugin may."""

    def __init__(self, policy):
        self.policies = [POLICIES.build(dict(policy)) for _ in range(2)]

    def update(self, loss):
        return False


@POLICIES.register_module(force=True)
class FaultyWindow(SwitchPolicy):
    def __init__(self, window):
        self.window = {}[window]

    def update(self, loss):
        return False


@pytest.mark.parametrize(
    ('policy', 'message'),
    [
        (dict(type='ConsecutiveDrop', drops=0), r'^motivation\.policy\.drops must be at least 1, got 0$'),
        (
            dict(type='All', policies=[GATE, dict(GATE, rate=2)]),
            r'^motivation\.policy\.policies\.1\.rate must be at most 1, got 2$',
        ),
        (
            dict(type='Not', policy=dict(type='Any', policies=[DROP, dict(DROP, drops=0)])),
            r'^motivation\.policy\.policy\.policies\.1\.drops must be at least 1, got 0$',
        ),
        (dict(type='Twice', policy=dict(GATE, rate=-1)), r'^motivation\.policy\.policy\.rate must be'),
        (dict(type='All', policies=[DROP, 5]), r'^motivation\.policy\.policies\.1 must be a policy: .*, got 5$'),
        (
            dict(type='Not', policy=dict(type='LossZScore')),
            r'^motivation\.policy\.policy\.below is None, above is None; give exactly one of below, above$',
        ),
        (
            dict(type='Not', policy=dict(type='FaultyWindow', window=3)),
            r"^motivation\.policy\.policy = {'type': 'FaultyWindow', 'window': 3} cannot be built: KeyError: 3 "
            r'\(test_build\.py, line \d+\); correct it; FaultyWindow takes window$',
        ),
    ],
)
def test_invalid_argument_of_a_policy_raises_with_its_field(policy, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build(POLICIES, policy, 'motivation.policy')
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('dataset', 'message'),
    [
        (dict(type='RepeatDataset', times=0, dataset=dict(type='DigitsDataset', split='train')), r'^data\.times must be '),
        (
            dict(type='ConcatDataset', datasets=[dict(type='DigitsDataset', split=split) for split in ('train', 'val')]),
            r"^data\.datasets\.1\.split must be 'train' or 'test', got 'val'$",
        ),
        (
            dict(type='DigitsDataset', split='train', transforms=[dict(type='RandomCrop', size=8), dict(type='RandomErasing', p=2)]),
            r"^data\.transforms\.1 = {'type': 'RandomErasing', 'p': 2} cannot be built: ValueError: ",
        ),
    ],
)  # fmt: skip
def test_invalid_argument_of_a_dataset_raises_with_its_field(dataset, message):
    with pytest.raises(ConfigError, match=message):
        build(DATASETS, dataset, 'data')


def test_arguments_that_are_not_in_the_config_are_passed():
    policy = build(POLICIES, dict(type='ConsecutiveDrop'), 'motivation.policy', drops=5)
    assert policy.drops == 5 and build(POLICIES, policy, 'motivation.policy') is policy


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'randomness.seed': -1}, r'^randomness\.seed must be at least 0 or None, got -1$'),
        (
            {'optim_wrapper.optimizer.lr': -0.1},
            r"^optim_wrapper\.optimizer = .*'lr': -0\.1.* cannot be built: ValueError: Invalid learning rate: -0\.1; "
            'correct it; SGD takes params, lr, momentum',
        ),
        ({'optim_wrapper.motivated.optimizer.lr': -1}, r"^optim_wrapper\.motivated\.optimizer = {'lr': -1} cannot be"),
        (
            {'train_dataloader.num_workers': -1},
            r'^train_dataloader\.num_workers must be at least 0, got -1$',
        ),
        (
            {'train_dataloader.prefetch_factor': 0, 'train_dataloader.num_workers': 1},
            r'^train_dataloader\.prefetch_factor must be at least 1 or None, got 0$',
        ),
        ({'val_dataloader.timeout': -1}, r'^val_dataloader\.timeout must be at least 0, got -1$'),
        (
            {'train_dataloader.num_batch_per_epoch': 0},
            r'^train_dataloader\.num_batch_per_epoch must be at least 1 or None, got 0$',
        ),
        ({'train_dataloader.persistent_workers': True}, r'^train_dataloader\.persistent_workers is True, which needs'),
        ({'val_dataloader.timeout': 5}, r'^val_dataloader\.timeout is 5, which needs num_workers of at least 1'),
        ({'train_cfg.val_begin': 0}, r'^train_cfg\.val_begin must be at least 1, got 0$'),
        ({'val_cfg.models': ['bas']}, r"^val_cfg\.models names 'bas'; did you mean 'base'"),
        ({'train_cfg.val_begin': 50}, r'^train_cfg\.val_begin is 50, after train_cfg\.max_epochs, which is 40'),
        (
            {'train_cfg.type': 'EpochBasedTrainLoop'},
            r"^train_cfg\.type is 'EpochBasedTrainLoop'; it must be DualTrainLoop",
        ),
        (
            {'randomness.seed': 'abc'},
            r"^randomness\.seed must be a whole number or None, got 'abc'$",
        ),
        ({'param_scheduler.0.begin': -4}, r'^param_scheduler\.0\.begin must be at least 0, got -4$'),
        (
            {'optim_wrapper.clip_grad': dict(max_norm=-1)},
            r'^optim_wrapper\.clip_grad\.max_norm must be above 0, got -1$',
        ),
        (
            {'model.base.mixup': dict(mixup_alfa=1)},
            r"^model\.base\.mixup\.mixup_alfa is not an argument .* 'mixup_alpha'",
        ),
        ({'optim_wrapper.type': 'AmpOptimWrapper'}, r"^optim_wrapper\.type is 'AmpOptimWrapper', which would leave"),
        ({'train_dataloader.batch_size': 10**9}, r'^train_dataloader\.batch_size is 1000000000, .* 1,437 images'),
        (
            {'train_dataloader.num_batch_per_epoch': 10**9},
            r'^train_dataloader\.num_batch_per_epoch is 1000000000, .* 1,437',
        ),
        (
            {'train_dataloader.batch_size': 1438, 'train_dataloader.drop_last': True},
            r'^train_dataloader\.batch_size is 1438, and its dataset has 1,437 images; give at most that$',
        ),
        (
            {'train_dataloader.dataset.transforms.0.size': 10**6},
            r'^image 0 fails in transforms\.0 \(RandomCrop\): ValueError: Required crop size .*; fix the transform',
        ),
        (
            {'model.base.mean': [1, 2, 3]},
            r'^model\.base\.mean has 3 values, \[1, 2, 3\], and the model takes 1 channels; give one for each',
        ),
        (
            {'train_dataloader.dataset.transforms': [dict(type='Grayscale', num_output_channels=3)]},
            r'^model\.base does not take the images of train_dataloader\.dataset, \(3, 8, 8\)',
        ),
        (
            {'default_hooks.logger.interval': 0},
            r'^default_hooks\.logger = .* cannot be built: ValueError: interval must',
        ),
        ({'log_level': 'LOUD'}, r"^log_level is 'LOUD'; there is DEBUG, ERROR, INFO, WARNING"),
        (
            {'custom_hooks': [dict(type='EMAHook', momentum=0.1)]},
            r"^custom_hooks\.0\.type is 'EMAHook', which would score averaged weights .*; write model\.ema=dict\(decay=0\.999\)",
        ),
        (
            {'model.ema': dict(decay=1.0)},
            r'^model\.ema\.decay must be below 1, got 1\.0$',
        ),
        (
            {'model.base.std': [0.0]},
            r'^model\.base\.std must be a list, each above 0 or None, got \[0\.0\]$',
        ),
        (
            {'model.base.label_smoothing': 1.5},
            r'^model\.base\.label_smoothing must be below 1, got 1\.5$',
        ),
        (
            {'model.base.mixup': dict(mixup_alpha=-2)},
            r'^model\.base\.mixup is .* which is invalid: neither mixup_alpha',
        ),
        (
            {'env_cfg.mp_cfg.mp_start_method': 'x'},
            r"^env_cfg\.mp_cfg\.mp_start_method must be 'fork', 'spawn' or 'forkserver', got 'x'$",
        ),
        ({'auto_scale_lr': dict(enable=True)}, r'^auto_scale_lr\.base_batch_size is missing; give the batch size'),
        (
            {'model.recalibrate': 1438},
            r'^model\.recalibrate is 1,438, and train_dataloader\.dataset has 1,437 images',
        ),
        (
            {'val_evaluator.topk': (0,)},
            r'^val_evaluator\.topk must be a list, each at least 1, got \(0,\)$',
        ),
        (
            {'train_dataloader.dataset': dict(_delete_=True, type='NoSuchData', size=1)},
            r"^train_dataloader\.dataset = {'type': 'NoSuchData', 'size': 1} cannot be built: ValueError: no data .*; NoSuchData takes",
        ),
    ],
)
def test_errors_of_a_constructor_name_its_field(tmp_path, options, message):
    config = load_config(DIGITS, options)
    config.work_dir = str(tmp_path)
    with pytest.raises(ConfigError, match=message) as caught:
        train(config)
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 700


def test_error_in_a_plugins_constructor_keeps_its_file_and_line(tmp_path):
    (tmp_path / 'faulty_policy.py').write_text(
        'from motivation.policies import SwitchPolicy\nfrom motivation.registry import POLICIES\n\n\n'
        '@POLICIES.register_module()\nclass Faulty(SwitchPolicy):\n    def __init__(self, window):\n'
        '        self.window = self.nonsense\n\n    def update(self, loss):\n        return False\n'
    )
    (tmp_path / 'config.py').write_text(
        f"_base_ = '{DIGITS}'\ncustom_imports = dict(imports=['faulty_policy'])\n"
        "motivation = dict(policy=dict(_delete_=True, type='Not', policy=dict(type='Faulty', window=3)))\n"
    )
    config = load_config('config.py')
    config.work_dir = str(tmp_path / 'run')
    with pytest.raises(ConfigError) as caught:
        DualModelRunner.from_cfg(config)
    assert str(caught.value) == (
        "motivation.policy.policy = {'type': 'Faulty', 'window': 3} cannot be built: AttributeError: "
        "'Faulty' object has no attribute 'nonsense' (faulty_policy.py, line 8); correct it; Faulty takes window"
    )
    assert isinstance(caught.value.__cause__, AttributeError)
