"""Every argument of MMEngine's runner, and of what it builds, works or is refused.

Each argument is listed as what proves it: a refusal (value and message), the name of a test, or an effect that is looked
at here. A new argument of another version of torch or MMEngine fails the comparison until it is listed.
"""

import ast
import inspect
import resource

import mmengine.dataset
import mmengine.hooks
import pytest
import torch
from mmengine.runner import EpochBasedTrainLoop, LogProcessor, Runner, ValLoop, loops
from mmengine.utils.dl_utils import set_multi_processing
from mmengine.visualization import LocalVisBackend, Visualizer
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import BatchSampler, DataLoader

from motivation.config import effects
from motivation.config.checks import check_config
from motivation.config.read import load_config
from motivation.errors import ConfigError
from motivation.registry import DATA_SAMPLERS
from tests.conftest import DIGITS, ROOT
from tests.small import BARE


@DATA_SAMPLERS.register_module(force=True)
class InBatches(BatchSampler):
    """Torch's own."""


GIVEN = 'and the run sets it: leave it out$'
WORKERS = 'which needs num_workers of at least 1$'
UNKNOWN = 'is not an argument of'


class Refused:
    def __init__(self, value, message, **options):
        self.value, self.message, self.options = value, message, options


class Shown(str):
    """Where a test shows the effect: ``'<file below tests>::<name>'``."""


EFFECTS = 'config/test_arguments_in_effect.py::'
LOADED = Shown(EFFECTS + 'test_arguments_of_a_data_loader_reach_it')
WRAPPED = Shown(EFFECTS + 'test_arguments_of_ddp_reach_it')
COMPILED = Shown(EFFECTS + 'test_arguments_of_compile_reach_torch')
CLIPPED = Shown(EFFECTS + 'test_arguments_of_clipping_take_effect')
LOGGED = Shown(EFFECTS + 'test_arguments_of_the_logs_take_effect')
VALIDATED = Shown(EFFECTS + 'test_validation_begins_and_recurs_as_asked')
ENVIRONMENT = Shown(EFFECTS + 'test_environment_takes_effect')
FIELDS = Shown('config/test_schema.py::test_fields_take_effect')
WATCHED = Shown(EFFECTS + 'test_hooks_that_need_no_gpu_take_effect')

# By field: the component whose arguments it takes, and each of them.
ARGUMENTS = {
    'train_dataloader': (
        DataLoader,
        {
            'dataset': FIELDS,
            'batch_size': LOADED,
            'shuffle': Refused(False, r'the sampler decides on the order: .* write sampler=.*shuffle=False\)$'),
            'sampler': Shown('engine/test_samplers.py::test_shortened_epochs_draw_from_the_whole_set'),
            'batch_sampler': Shown('engine/test_samplers.py::test_epochs_end_at_the_length_of_a_batch_sampler'),
            'num_workers': LOADED,
            'collate_fn': LOADED,
            'pin_memory': LOADED,
            'drop_last': LOADED,
            'timeout': LOADED,
            'worker_init_fn': LOADED,
            'multiprocessing_context': LOADED,
            'generator': Refused(dict(seed=1), 'random numbers come from randomness.seed: leave it out$'),
            'prefetch_factor': LOADED,
            'persistent_workers': LOADED,
            'pin_memory_device': Refused('cuda', 'torch ignores it, and pins memory .*: leave it out$'),
            'in_order': Refused(False, 'no run could be repeated or resumed: leave it out$'),
        },
    ),
    'train_dataloader.sampler': (
        mmengine.dataset.DefaultSampler,
        {
            'dataset': Refused(dict(type='DigitsDataset', split='val'), GIVEN),
            'shuffle': Shown(EFFECTS + 'test_arguments_of_a_sampler_take_effect'),
            'seed': Shown(EFFECTS + 'test_arguments_of_a_sampler_take_effect'),
            'round_up': Shown('config/test_effects.py::test_unequal_numbers_of_batches_are_refused'),
        },
    ),
    'train_cfg': (
        EpochBasedTrainLoop,
        {
            'runner': Refused(dict(work_dir='mine'), GIVEN),
            'dataloader': Refused(dict(batch_size=3), GIVEN),
            'max_epochs': VALIDATED,
            'val_begin': VALIDATED,
            'val_interval': VALIDATED,
            'dynamic_intervals': Refused([(1, 2)], UNKNOWN),
        },
    ),
    'val_cfg': (
        ValLoop,
        {
            'runner': Refused(dict(work_dir='mine'), GIVEN),
            'dataloader': Refused(dict(batch_size=3), GIVEN),
            'evaluator': Refused(dict(type='Accuracy'), GIVEN),
            'fp16': Refused(True, UNKNOWN),
        },
    ),
    'test_cfg': (
        loops.TestLoop,
        {
            'runner': Refused(dict(work_dir='mine'), GIVEN),
            'dataloader': Refused(dict(batch_size=3), GIVEN),
            'evaluator': Refused(dict(type='Accuracy'), GIVEN),
            'fp16': Refused(True, UNKNOWN),
        },
    ),
    'randomness': (
        Runner.set_randomness,
        {
            'self': Refused(1, GIVEN),
            'seed': FIELDS,
            'diff_rank_seed': Refused(True, 'processes decide alike because they share a seed'),
            'deterministic': ENVIRONMENT,
        },
    ),
    'env_cfg.mp_cfg': (
        set_multi_processing,
        {
            'mp_start_method': ENVIRONMENT,
            'opencv_num_threads': ENVIRONMENT,
            'distributed': Refused(True, GIVEN),
        },
    ),
    'model_wrapper_cfg': (
        DistributedDataParallel,
        {
            **dict.fromkeys(('module', 'process_group', 'device_mesh'), Refused('mine', GIVEN)),
            **dict.fromkeys(('device_ids', 'delay_all_reduce_named_params'), Refused([0], GIVEN)),
            **dict.fromkeys(('output_device', 'dim', 'param_to_hook_all_reduce'), Refused(1, GIVEN)),
            'check_reduction': Refused(True, GIVEN),
            'mixed_precision': Refused(dict(param_dtype='bf16'), "; write model.precision='bf16' instead$"),
            'broadcast_buffers': WRAPPED,
            'forward_sync_buffers': WRAPPED,
            'init_sync': WRAPPED,
            'bucket_cap_mb': WRAPPED,
            'bucket_cap_mb_list': WRAPPED,
            'find_unused_parameters': Shown('engine/test_processes.py::test_unused_parameters_can_be_found'),
            'gradient_as_bucket_view': WRAPPED,
            'static_graph': WRAPPED,
            'skip_all_reduce_unused_params': WRAPPED,
            'batched_grad_copy': WRAPPED,
        },
    ),
    'compile': (
        torch.compile,
        {
            'model': Refused('mine', GIVEN),
            'disable': Refused(True, 'leave compile out instead$'),
            **dict.fromkeys(
                (
                    *('fullgraph', 'dynamic', 'backend', 'mode', 'options', 'name', 'recompile_limit'),
                    *('isolate_recompiles', 'dynamic_shapes'),
                ),
                COMPILED,
            ),
        },
    ),
    'optim_wrapper.clip_grad': (
        clip_grad_norm_,
        {
            'parameters': Refused([1], GIVEN),
            **dict.fromkeys(('max_norm', 'norm_type', 'error_if_nonfinite', 'foreach'), CLIPPED),
        },
    ),
    'default_hooks.logger': (
        mmengine.hooks.LoggerHook,
        {
            'interval': LOGGED,
            'ignore_last': LOGGED,
            'interval_exp_name': LOGGED,
            'out_dir': LOGGED,
            'out_suffix': Refused('.json', 'which needs out_dir: give it, or leave both out$'),
            'keep_local': Refused(False, 'which needs out_dir: give it, or leave both out$'),
            'file_client_args': Refused(dict(backend='disk'), 'which needs out_dir: give it, or leave both out$'),
            'backend_args': Refused(dict(backend='local'), 'which needs out_dir: give it, or leave both out$'),
            'log_metric_by_epoch': LOGGED,
        },
    ),
    'log_processor': (
        LogProcessor,
        dict.fromkeys(
            ('window_size', 'by_epoch', 'custom_cfg', 'num_digits', 'log_with_hierarchy', 'mean_pattern'), LOGGED
        ),
    ),
    'visualizer': (
        Visualizer,
        {
            'name': LOGGED,
            'image': Shown('engine/loggers/test_visualizer.py::test_figure_is_made_on_first_use_and_equals_mmengines'),
            'vis_backends': LOGGED,
            'save_dir': LOGGED,
            'fig_save_cfg': Shown(
                'engine/loggers/test_visualizer.py::test_figure_is_made_on_first_use_and_equals_mmengines'
            ),
            'fig_show_cfg': Shown(
                'engine/loggers/test_visualizer.py::test_figure_is_made_on_first_use_and_equals_mmengines'
            ),
        },
    ),
    'visualizer.vis_backends.0': (
        LocalVisBackend,
        dict.fromkeys(('save_dir', 'img_save_dir', 'config_save_file', 'scalar_save_file'), LOGGED),
    ),
}

# The fields of dicts that are read one by one.
READ = {
    'env_cfg': {
        'cudnn_benchmark': Refused(
            True, 'switches it off: leave one of them out$', **{'randomness.deterministic': True}
        ),
        'tf32': Shown(EFFECTS + 'test_environment_takes_effect'),
        'mp_cfg': ENVIRONMENT,
        'dist_cfg': Refused(dict(backend='nccl'), 'not supported: processes join before the config is read'),
        'resource_limit': ENVIRONMENT,
    },
    'auto_scale_lr': {
        'enable': FIELDS,
        'base_batch_size': FIELDS,
    },
}

# MMEngine's hooks; those without arguments are there by default.
OF_HOOKS = {
    'CheckpointHook': Refused({}, 'write DualCheckpointHook'),
    'EMAHook': Refused({}, r'write model\.ema'),
    'PrepareTTAHook': Refused(dict(tta_cfg={}), 'would replace both models by one wrapper; leave it out$'),
    'NaiveVisualizationHook': Refused({}, "draws what other models' predictions hold; leave it out$"),
    **dict.fromkeys(
        ('RuntimeInfoHook', 'IterTimerHook', 'DistSamplerSeedHook', 'ParamSchedulerHook', 'LoggerHook'), LOGGED
    ),
    'EarlyStoppingHook': Shown(
        'engine/test_hook_state.py::test_early_stopping_stops_after_the_same_epoch_and_stays_stopped'
    ),
    'EmptyCacheHook': WATCHED,
    'SyncBuffersHook': WATCHED,
    'ProfilerHook': WATCHED,
    'NPUProfilerHook': Shown(EFFECTS + 'test_hook_for_other_devices_is_refused_before_training'),
}


def _fields(component):
    names = inspect.signature(component).parameters.keys()
    return {*names} if not isinstance(component, type) else {*names} - {'self'}


@pytest.mark.parametrize('field', ARGUMENTS)
def test_every_argument_is_listed(field):
    component, listed = ARGUMENTS[field]
    assert _fields(component) == listed.keys()


def test_every_hook_of_mmengine_is_listed():
    assert {name for name in mmengine.hooks.__all__ if name != 'Hook'} == OF_HOOKS.keys()


PROOFS = [
    (f'{field}.{name}', proof)
    for field, listed in [*((field, listed) for field, (_, listed) in ARGUMENTS.items()), *READ.items()]
    for name, proof in listed.items()
] + [(f'custom_hooks.{name}', proof) for name, proof in OF_HOOKS.items()]


@pytest.mark.parametrize('proof', sorted({proof for _, proof in PROOFS if isinstance(proof, Shown)}))
def test_that_shows_an_effect_exists(proof):
    file, _, name = proof.partition('::')
    tree = ast.parse((ROOT / 'tests' / file).read_text())
    assert name in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize(('path', 'proof'), [pair for pair in PROOFS if isinstance(pair[1], Refused)])
def test_argument_without_effect_is_refused(path, proof):
    field, _, name = path.rpartition('.')
    options = {path: proof.value, **proof.options}
    if field == 'custom_hooks':
        path, options = 'custom_hooks.0', {field: [dict(type=name, **proof.value)]}
    config = load_config(DIGITS, {'optim_wrapper.clip_grad.max_norm': 1.0, **options})
    with pytest.raises(ConfigError, match=f'^{path}.*{proof.message}') as caught:
        check_config(config)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        *(
            ({f'train_dataloader.{name}': value}, rf'^train_dataloader\.{name} is .*, {WORKERS}')
            for name, value in [('timeout', 5), ('prefetch_factor', 2), ('persistent_workers', True)]
        ),
        ({'val_dataloader.worker_init_fn': dict(type='collate_images')}, f'worker_init_fn is .*{WORKERS}'),
        ({'val_dataloader.multiprocessing_context': 'spawn'}, f'multiprocessing_context is .*{WORKERS}'),
        (
            {'val_dataloader.drop_last': True},
            r'^val_dataloader\.drop_last is True, which would leave the last images out',
        ),
        *(
            (
                {f'{stage}_dataloader.sampler': dict(_delete_=True, type=f'{kind}Sampler', **arguments)},
                rf'^{stage}_dataloader\.sampler is {kind}Sampler, which draws some images more often .* write sampler=dict',
            )
            for stage in ('val', 'test')
            for kind, arguments in [('Balanced', {}), ('Weighted', {'class_weights': [1.0]}), ('RepeatAug', {})]
        ),
        (
            {'test_dataloader.batch_sampler': dict(type='InBatches', drop_last=True)},
            r'^test_dataloader\.batch_sampler\.drop_last is True, which would leave',
        ),
        (
            {'train_cfg.val_begin': 2, **BARE},
            r'^train_cfg\.val_begin is 2, and the run has no validation: leave it out',
        ),
        ({'train_cfg.val_interval': 2, **BARE}, r'^train_cfg\.val_interval is 2, and the run has no validation'),
        (
            {'auto_scale_lr': dict(base_batch_size=64)},
            '^auto_scale_lr is .* scales nothing without enable: write enable=True',
        ),
        ({'auto_scale_lr.enable': 'yes'}, r"^auto_scale_lr\.enable must be True or False, got 'yes'$"),
        ({'env_cfg.resource_limit': 10**9}, r'^env_cfg\.resource_limit is 1,000,000,000, .* at most 4,096 open files'),
        ({'env_cfg.resource_limit': 'all'}, r"^env_cfg\.resource_limit must be a whole number, got 'all'$"),
        ({'env_cfg.mp_cfg.mp_start_method': 'frok'}, "mp_start_method must be .*; did you mean 'fork'"),
        (
            {'optim_wrapper.clip_grad': dict(type='value', max_norm=1.0)},
            'max_norm is 1.0, which clipping by value does not',
        ),
        (
            {'optim_wrapper.clip_grad': dict(max_norm=1.0, clip_value=2.0)},
            'clip_value is 2.0, which clipping by norm does',
        ),
        ({'param_scheduler.0.optimizer': 'SGD'}, rf'^param_scheduler\.0\.optimizer is .*{GIVEN}'),
        ({'param_scheduler.0.last_step': 3}, rf'^param_scheduler\.0\.last_step is 3, {GIVEN}'),
        ({'param_scheduler.0.param_name': 'lr'}, r"\.param_name is 'lr', and CosineAnnealingLR sets it: leave it out"),
        ({'optim_wrapper.optimizer.params': []}, rf'^optim_wrapper\.optimizer\.params is \[\], {GIVEN}'),
        (
            {'train_dataloader.batch_sampler': dict(type='InBatches', drop_last=True, batch_size=3)},
            rf'^train_dataloader\.batch_sampler\.batch_size is 3, {GIVEN}',
        ),
    ],
)
def test_value_without_effect_is_refused(options, message, monkeypatch):
    monkeypatch.setattr(resource, 'getrlimit', lambda _: (1024, 4096))
    with pytest.raises(ConfigError, match=message):
        check_config(load_config(DIGITS, options))


def test_values_for_other_machines_are_accepted_and_named(tmp_path, monkeypatch):
    """A config for several processes also trains in one, and its header says what has no effect."""
    fields = dict(sync_bn='torch', find_unused_parameters=True, model_wrapper_cfg=dict(broadcast_buffers=False))
    options = {'auto_scale_lr': dict(enable=False, base_batch_size=256), 'train_dataloader.pin_memory': True}
    config = load_config(DIGITS, {**fields, **options})
    check_config(config)
    assert effects.fields_without_effect(config) == [*fields]
    monkeypatch.setattr(effects, 'get_world_size', lambda: 2)
    assert effects.fields_without_effect(config) == []


def test_unequal_numbers_of_batches_are_refused(monkeypatch):
    config = load_config(DIGITS, {'val_dataloader.sampler.round_up': False})
    check_config(config)
    monkeypatch.setattr(effects, 'get_world_size', lambda: 2)
    with pytest.raises(ConfigError, match=r'^val_dataloader\.sampler\.round_up is False, with which 2 processes have'):
        check_config(config)
