"""Arguments of torch's and MMEngine's components have their effect in a run; test_effects.py lists all of them."""

import inspect
import json
import resource

import cv2
import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from mmengine import hooks
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler import lr_scheduler
from torch.nn.parallel import DistributedDataParallel

from motivation.config.build import build_data_loader
from motivation.config.checks import check_config
from motivation.config.defaults import with_defaults
from motivation.config.read import load_config
from motivation.engine.compilation import compile_models
from motivation.engine.optim.optim_wrapper import DualOptimWrapperConstructor
from motivation.engine.parallel import train_together
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.registry import FUNCTIONS
from tests.conftest import DIGITS, small_batch, small_dual_model, tiny_config, train
from tests.small import BARE


@FUNCTIONS.register_module(force=True)
def init_of_mine(worker_id):
    """Does nothing."""


class Maker:
    """What a data loader is built with."""

    seed = 0
    build_dataloader = staticmethod(DualModelRunner.build_dataloader)


def build_loader(**options):
    config = with_defaults(load_config(DIGITS, {f'train_dataloader.{name}': value for name, value in options.items()}))
    del config.default_hooks['motivation']
    check_config(config)
    return build_data_loader(Maker, config.train_dataloader, 'train_dataloader')


def test_arguments_of_a_data_loader_reach_it():
    given = dict(batch_size=7, num_workers=2, drop_last=True, timeout=9, pin_memory=True, persistent_workers=False)
    given |= dict(prefetch_factor=3)
    functions = dict(worker_init_fn=dict(type='init_of_mine'), collate_fn=dict(type='pseudo_collate'))
    loader = build_loader(**given, **functions, multiprocessing_context='spawn')
    assert {name: getattr(loader, name) for name in given} == given
    assert loader.multiprocessing_context.get_start_method() == 'spawn'
    assert loader.worker_init_fn.func is init_of_mine and loader.collate_fn.func.__name__ == 'pseudo_collate'
    assert len(loader) == 1437 // 7


def test_arguments_of_a_sampler_take_effect():
    def order(**arguments):
        return list(build_loader(sampler=dict(type='DefaultSampler', **arguments)).sampler)

    assert order(shuffle=False) == list(range(1437))
    assert order(seed=3) == order(seed=3) != order(seed=4) and order() == order(seed=0)


# Of every schedule, arguments for another rate in some epoch of ten.
SCHEDULES = {
    'ConstantLR': (dict(end=5), dict(factor=0.1)),
    'CosineAnnealingLR': (dict(T_max=5, end=5), dict(T_max=9), dict(eta_min=0.1), dict(eta_min_ratio=0.3)),
    'ExponentialLR': (dict(gamma=0.9, end=5), dict(gamma=0.5)),
    'LinearLR': (dict(end=5), dict(start_factor=0.1), dict(end_factor=0.9)),
    'MultiStepLR': (dict(milestones=[2, 4], end=5), dict(milestones=[3]), dict(gamma=0.3)),
    'StepLR': (dict(step_size=2, end=5), dict(step_size=1), dict(gamma=0.3)),
    'PolyLR': (dict(end=5), dict(eta_min=0.1), dict(power=2.0)),
    'OneCycleLR': (
        dict(eta_max=1.0, total_steps=12),
        *(dict(eta_max=0.5), dict(total_steps=20), dict(pct_start=0.5), dict(anneal_strategy='linear')),
        *(dict(div_factor=5.0), dict(final_div_factor=10.0), dict(three_phase=True), dict(end=5)),
    ),
    'CosineRestartLR': (
        dict(periods=[2, 3], restart_weights=[1, 0.5], eta_min=0.0, end=5),
        *(dict(periods=[3, 2]), dict(restart_weights=[1, 1]), dict(eta_min=0.1), dict(eta_min=None, eta_min_ratio=0.2)),
    ),
    'ReduceOnPlateauLR': (
        dict(monitor='loss', patience=1, factor=0.5, threshold=0.1),
        *(dict(rule='greater'), dict(factor=0.1), dict(patience=0), dict(threshold=0.6), dict(threshold_rule='abs')),
        *(dict(cooldown=3), dict(min_value=0.4), dict(eps=0.9), dict(monitor='rise'), dict(end=2)),
    ),
}
GIVEN_BY_THE_RUN = {'optimizer', 'param_name', 'last_step'}


def rates(kind, **arguments):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    metrics = [dict(loss=loss, rise=-loss) for loss in (9.0, 5.0, 4.9, 4.8, 4.75, 4.7, 4.6, 4.5, 4.4, 4.3)]
    schedule = getattr(lr_scheduler, kind)(OptimWrapper(optimizer), **arguments)
    seen = [optimizer.param_groups[0]['lr']]
    for metric in metrics:
        optimizer.step()
        schedule.step()
        if kind == 'ReduceOnPlateauLR':  # after the validation of the epoch
            schedule.step(metric)
        seen.append(optimizer.param_groups[0]['lr'])
    return seen


def test_every_schedule_of_mmengine_is_listed():
    names = {name for name, kind in vars(lr_scheduler).items() if isinstance(kind, type) and name.endswith('LR')}
    assert names == SCHEDULES.keys()


@pytest.mark.parametrize('kind', SCHEDULES)
def test_every_argument_of_a_schedule_changes_its_rates(kind):
    default, *changes = SCHEDULES[kind]
    changes = [*changes, dict(begin=4 if kind == 'ReduceOnPlateauLR' else 2)]
    changed = {name for change in [default, *changes] for name in change}
    known = {name for base in getattr(lr_scheduler, kind).__mro__ for name in _named(base)} - GIVEN_BY_THE_RUN
    assert known - {'by_epoch', 'verbose'} == changed
    unchanged = rates(kind, **default)
    for change in changes:
        assert rates(kind, **{**default, **change}) != unchanged, change


def _named(base):
    parameters = inspect.signature(base.__init__).parameters.values() if '__init__' in vars(base) else ()
    return [
        parameter.name
        for parameter in parameters
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ][1:]


def test_arguments_of_compile_reach_torch():
    class Model:
        def compile(self, **kwargs):
            self.given = kwargs

    model, given = Model(), dict(backend='eager', fullgraph=True, dynamic=False, recompile_limit=3, mode='default')
    given |= dict(name='mine', isolate_recompiles=True, options={}, dynamic_shapes=None)
    assert compile_models(model, given) and model.given == given
    assert given.keys() <= inspect.signature(torch.compile).parameters.keys()


@pytest.mark.parametrize(('options', 'order'), [(dict(foreach=False), 2.0), (dict(norm_type=1.0), 1.0)])
def test_arguments_of_clipping_take_effect(options, order, monkeypatch):
    kept = []
    monkeypatch.setattr(torch.optim.SGD, 'zero_grad', lambda self: kept.extend(_gradients(self)))
    model = small_dual_model()
    clip = dict(max_norm=0.1, error_if_nonfinite=True, **options)
    wrappers = DualOptimWrapperConstructor(dict(optimizer=dict(type='SGD', lr=0.0), clip_grad=clip))(model)
    model.train_step(small_batch(), wrappers)
    assert torch.cat(kept).norm(order).item() == pytest.approx(0.1, rel=1e-3)
    assert wrappers['base'].clip_grad_kwargs == clip


def _gradients(optimizer):
    gradients = (parameter.grad for group in optimizer.param_groups for parameter in group['params'])
    return [gradient.flatten().clone() for gradient in gradients if gradient is not None]


@pytest.fixture
def one_process(tmp_path):
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path / "store"}', rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_arguments_of_ddp_reach_it(one_process):
    given = dict(gradient_as_bucket_view=True, static_graph=True, broadcast_buffers=False)
    given |= dict(skip_all_reduce_unused_params=True, forward_sync_buffers=False)
    model = small_dual_model()
    train_together(
        model, {'model_wrapper_cfg': dict(bucket_cap_mb=3, **given, batched_grad_copy=False, init_sync=False)}
    )
    wrapped = model._steppers['base']
    assert isinstance(wrapped, DistributedDataParallel)
    assert wrapped.gradient_as_bucket_view and wrapped.static_graph and wrapped.bucket_bytes_cap == 3 * 2**20


def test_environment_takes_effect(tmp_path):
    method, threads, limits = torch.multiprocessing.get_start_method(), cv2.getNumThreads(), (resource.RLIMIT_NOFILE,)
    limits += (resource.getrlimit(resource.RLIMIT_NOFILE),)
    soft = limits[1][0]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 2000, limits[1][1]))
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    environment = dict(
        mp_cfg=dict(mp_start_method='spawn', opencv_num_threads=2), resource_limit=soft - 1000, tf32=True
    )
    try:
        DualModelRunner.from_cfg(
            tiny_config(tmp_path / 'run', env_cfg=environment, randomness=dict(seed=1, deterministic=True), **BARE)
        )
        assert torch.multiprocessing.get_start_method() == 'spawn' and cv2.getNumThreads() == 2
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == soft - 1000
        assert torch.are_deterministic_algorithms_enabled() and torch.backends.cudnn.deterministic
        assert torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32
    finally:
        torch.multiprocessing.set_start_method(method, force=True)
        cv2.setNumThreads(threads)
        resource.setrlimit(*limits)
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32


class Epochs(Hook):
    def __init__(self):
        self.validated = []

    def after_val_epoch(self, runner, metrics=None):
        self.validated.append(runner.epoch)


def test_validation_begins_and_recurs_as_asked(tmp_path):
    options = {'train_cfg.val_begin': 3, 'train_cfg.val_interval': 2, 'train_dataloader.num_batch_per_epoch': 1}
    runner, epochs = DualModelRunner.from_cfg(tiny_config(tmp_path / 'run', epochs=5, **options)), Epochs()
    runner.register_hook(epochs)
    runner.train()
    assert epochs.validated == [4, 5] and runner.epoch == 5


def test_arguments_of_the_logs_take_effect(tmp_path):
    loss = dict(data_src='loss', log_name='highest', method_name='max', window_size=2)
    backend = dict(type='LocalVisBackend', save_dir=str(tmp_path / 'mine'), scalar_save_file='my.json')
    backend |= dict(config_save_file='my.py', img_save_dir='pictures')
    options = {
        'train_dataloader.num_batch_per_epoch': 5,
        'log_processor': dict(window_size=2, by_epoch=False, num_digits=2, log_with_hierarchy=True, custom_cfg=[loss]),
        'log_processor.mean_pattern': '.*loss$',
        'default_hooks.logger': dict(
            type='LoggerHook', interval=2, ignore_last=False, interval_exp_name=3, out_dir='out'
        ),
        'default_hooks.logger.log_metric_by_epoch': True,
        'visualizer': dict(_delete_=True, type='Visualizer', name='shown', save_dir='saved'),
        'visualizer.vis_backends': [backend, dict(type='TensorboardVisBackend', name='curves')],
    }
    runner = train(tiny_config(tmp_path / 'run', epochs=1, **options))
    lines = [json.loads(line) for line in (tmp_path / 'mine/my.json').read_text().splitlines()]
    assert [line['step'] for line in lines] == [2, 4, 5, 1]  # batches of training, and the epoch
    runner.visualizer.add_image('black', np.zeros((4, 4, 3), np.uint8))
    assert (tmp_path / 'mine/my.py').exists() and (tmp_path / 'mine/pictures').is_dir()
    assert runner.visualizer.instance_name == 'shown' and runner.visualizer.get_backend('curves') is not None
    assert list((tmp_path / 'saved/vis_data').glob('events*'))
    (log,) = (tmp_path / 'out/run').rglob('*.log')
    assert log.read_text().count('Exp name: ') == 2  # after batch 3, and at the end of the epoch


def test_hook_for_other_devices_is_refused_before_training(tmp_path):
    with pytest.raises(ConfigError, match=r'^custom_hooks\.0 = .*NPUProfilerHook.* cannot be built'):
        DualModelRunner.from_cfg(tiny_config(tmp_path / 'run', custom_hooks=[dict(type='NPUProfilerHook')], **BARE))


def test_hooks_that_need_no_gpu_take_effect(tmp_path):
    profiler = dict(
        type='ProfilerHook', by_epoch=False, profile_times=2, json_trace_path='trace.json', record_shapes=True
    )
    custom = [profiler, dict(type='EmptyCacheHook', before_epoch=True, after_iter=True), dict(type='SyncBuffersHook')]
    runner = train(
        tiny_config(tmp_path / 'run', custom_hooks=custom, **{**BARE, 'train_dataloader.num_batch_per_epoch': 2})
    )
    assert runner.find_hook(hooks.EmptyCacheHook)._do_before_epoch
    assert json.loads((tmp_path / 'trace.json').read_text())['traceEvents']
