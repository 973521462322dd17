"""Every field of MMEngine's runner works or raises an error that names it."""

import inspect
import re
from pathlib import Path

import mmengine.runner.runner
import pytest
import torch
from mmengine.runner import Runner

from motivation.config.checks import check_config
from motivation.config.read import load_config
from motivation.config.schema import known_fields
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from tests.conftest import DIGITS, ROOT, train
from tests.small import small_config

# Fields that are not supported, with a value and the error message.
REFUSED = {
    'activation_checkpointing': (
        ['base.backbone'],
        r"is \['base\.backbone'\], which is not supported: .*lower train_data",
    ),
    'efficient_conv_bn_eval': ('base', "is 'base', which is not supported: .*leave it out"),
    'data_preprocessor': (dict(type='ImgDataPreprocessor'), 'each model has its own; .*give mean and std to model'),
    'launcher': ('slurm', "is 'slurm', and a config starts no processes; .* torchrun"),
}

# Fields that are supported: those that other tests use in their runs, and those of the tests below.
PARTS = {'model', 'work_dir', 'train_cfg', 'val_cfg', 'test_cfg', 'optim_wrapper', 'param_scheduler', 'motivation'}
PARTS |= {f'{stage}_{part}' for stage in ('train', 'val', 'test') for part in ('dataloader', 'evaluator')}
PARTS -= {'train_evaluator'}
PARTS |= {'default_hooks', 'custom_hooks', 'load_from', 'resume', 'visualizer', 'default_scope', 'runner_type'}
PARTS |= {'custom_imports'}
TESTED = {
    'auto_scale_lr': 'test_fields_take_effect',
    'env_cfg': 'test_fields_take_effect',
    'experiment_name': 'test_fields_take_effect',
    'log_level': 'test_fields_take_effect',
    'log_processor': 'test_fields_take_effect',
    'randomness': 'test_fields_take_effect',
    'model_wrapper_cfg': 'test_processes.test_unused_parameters_can_be_found',
    'find_unused_parameters': 'test_processes.test_unused_parameters_can_be_found',
    'sync_bn': 'test_processes.test_sync_bn_raises_on_the_cpu',
    'compile': 'test_compilation',
    'comparison': 'test_comparison_plan',
}


def test_every_field_of_mmengine_is_listed_here():
    source = inspect.getsource(mmengine.runner.runner)
    read = set(re.findall(r"(?:self\.)?\bcfg\.get\(\s*'(\w+)'", source)) - {'mp_start_method'}
    fields = {*inspect.signature(Runner).parameters, *read} - {'cfg'}
    ours = {'motivation', 'runner_type', 'custom_imports', 'comparison'}
    nested = {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit', 'type', 'num_workers', 'seed'}
    assert fields - nested | ours == {*REFUSED, *PARTS, *TESTED}
    assert known_fields().keys() == {*REFUSED, *PARTS, *TESTED}


def test_every_field_is_documented():
    page = (ROOT / 'docs/fields.md').read_text()
    assert known_fields().keys() <= set(re.findall(r'`(\w+)`', page))


def refused(message, **options):
    with pytest.raises(ConfigError, match=message) as caught:
        check_config(load_config(DIGITS, options))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('field', REFUSED)
def test_unsupported_field_raises_with_the_fix(field):
    value, message = REFUSED[field]
    refused(f'^{field} .*{message}', **{field: value})


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'env_cfg.dist_cfg': dict(backend='nccl')}, r'^env_cfg\.dist_cfg is .* not supported: processes join before'),
        ({'randomness.diff_rank_seed': True}, r'^randomness\.diff_rank_seed is True, which is not supported: '),
        ({'launcher': 'pytorch'}, "^launcher is 'pytorch', and a config starts no processes"),
        ({'sync_bn': 'mmcv'}, "^sync_bn must be 'torch' or None, got 'mmcv'$"),
        ({'find_unused_parameters': 'yes'}, "^find_unused_parameters must be True or False, got 'yes'$"),
        ({'model_wrapper_cfg': dict(find_unused=True)}, r'^model_wrapper_cfg\.find_unused is not an argument of Dist'),
        ({'model_wrapper_cfg': dict(type='MMSeparateDistributedDataParallel')}, r'^model_wrapper_cfg\.type is .MMSep'),
        ({'model_wrapper_cfg': dict(device_ids=[0])}, r'^model_wrapper_cfg\.device_ids is \[0\], and the run sets it'),
        (
            {'model_wrapper_cfg': dict(find_unused_parameters=True), 'find_unused_parameters': False},
            '^find_unused_parameters is False, and model_wrapper_cfg',
        ),
        ({'train_dataloader.disable_subprocess_warning': True}, r'disable_subprocess_warning is not an argument of'),
        (
            {'train_cfg.dynamic_intervals': [(1, 2)]},
            r'^train_cfg\.dynamic_intervals is not an argument of DualTrainLoop',
        ),
        ({'val_cfg.fp16': True}, r'^val_cfg\.fp16 is not an argument of DualValLoop'),
        ({'test_cfg.fp16': True}, r'^test_cfg\.fp16 is not an argument of DualTestLoop'),
        ({'val_cfg.type': 'ValLoop'}, r"^val_cfg\.type is 'ValLoop'; it must be DualValLoop or a subclass of it"),
        ({'test_cfg.type': 'TestLoop'}, r"^test_cfg\.type is 'TestLoop'; it must be DualTestLoop or a subclass of it"),
        ({'compile': dict(backen='eager')}, r"^compile\.backen is not an argument of compile; did you mean 'backend'"),
        ({'compile': 'yes'}, "^compile must be True or False or a dict or None, got 'yes'$"),
        (
            {'auto_scale_lr': dict(enable=True, base_batch_size=0)},
            r'^auto_scale_lr\.base_batch_size must be at least 1, got 0$',
        ),
    ],
)
def test_fields_without_effect_raise(options, message):
    refused(message, **options)


def test_helper_variable_may_be_called_cfg(tmp_path):
    (tmp_path / 'config.py').write_text(f"_base_ = '{DIGITS}'\ncfg = 3\n")
    check_config(load_config('config.py'))


def test_fields_take_effect(tmp_path):
    options = {
        'auto_scale_lr': dict(enable=True, base_batch_size=128),
        'env_cfg.cudnn_benchmark': True,
        'experiment_name': 'mine',
        'log_level': 'WARNING',
        'log_processor.window_size': 3,
        'randomness': dict(seed=5, deterministic=False),
        'optim_wrapper.motivated': dict(optimizer=dict(lr=0.02)),
        'param_scheduler': [],
    }
    benchmark = torch.backends.cudnn.benchmark
    try:
        runner = train(small_config(tmp_path / 'run', **options))
        assert torch.backends.cudnn.benchmark
    finally:
        torch.backends.cudnn.benchmark = benchmark
    assert runner.optim_wrapper.get_lr() == {'base.lr': [0.025], 'motivated.lr': [0.01]}  # batches of 64
    assert runner.experiment_name.startswith('mine_') and runner.seed == 5
    assert runner.logger.level <= 30 and runner.log_processor.window_size == 3
    dumped = load_config(str(next(Path(runner.work_dir).glob('*.py'))))
    assert 'launcher' not in dumped and dumped.experiment_name == 'mine'  # so that it can be trained again
    check_config(dumped)
    assert DualModelRunner.from_cfg(dumped).experiment_name != runner.experiment_name


def test_mmengines_checkpoint_hook_raises():
    for options in (
        {'custom_hooks': [dict(type='CheckpointHook')]},
        {'default_hooks.checkpoint.type': 'CheckpointHook'},
    ):
        with pytest.raises(
            ConfigError, match=r"type is 'CheckpointHook', whose checkpoints .* write DualCheckpointHook"
        ):
            check_config(load_config(DIGITS, options))
