"""Checkpoints of another run, or of a config that has changed too much, are refused, and a message says why."""

import shutil
from pathlib import Path

import pytest
import torch

from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.hooks import MotivationHook
from motivation.utils.checkpoint import read_checkpoint
from tests.conftest import snapshot, tiny_config, train
from tests.engine.resuming_runs import Stop, resumed
from tests.engine.stopped_runs import At

pytestmark = pytest.mark.usefixtures('run_folder')


def test_load_from_loads_weights_and_starts_a_new_run(tmp_path):
    first = train(tiny_config(tmp_path / 'first', **{'motivation.policy': dict(_delete_=True, type='Always')}))
    config = tiny_config(tmp_path / 'second', epochs=1)
    config.load_from = str(tmp_path / 'first/epoch_2.pth')
    second, begun = DualModelRunner.from_cfg(config), {}
    second.register_hook(At('before_train_iter', 0, lambda: begun.update(snapshot(second.model))))
    second.train()
    trace = second.find_hook(MotivationHook).trace
    assert first.model.active == 'motivated'
    assert len(trace) == 6 and not trace.motivated[0]
    loaded = read_checkpoint(Path(config.load_from))['state_dict']
    assert begun.keys() == loaded.keys()
    assert all(torch.equal(tensor, begun[name]) for name, tensor in loaded.items() if name != '_extra_state')


def test_exported_model_raises_with_the_checkpoints_beside_it():
    config = tiny_config('second', 1)
    config.load_from = 'run/base.pth'
    with pytest.raises(
        ConfigError, match=r"'run/base\.pth' is one exported model, .*; there is 'run/epoch_1\.pth' and "
    ):
        train(config)


def test_checkpoint_of_other_models_raises():
    config = tiny_config('second', 1, **{'model.motivated.model_name': 'cifar_resnet32'})
    config.load_from = 'run/epoch_1.pth'
    with pytest.raises(
        ConfigError, match=r"epoch_1\.pth' is of other models: it lacks 'motivated\.backbone\.layer1\.3"
    ):
        train(config)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'train_cfg.max_epochs': 3}, r"train_cfg\.max_epochs is 3, and was 2 in '.*epoch_1\.pth'"),
        ({'motivation.policy.drops': 3}, r'motivation\.policy\.drops is 3, and was 2'),
        ({'optim_wrapper.optimizer.nesterov': True}, r'optim_wrapper\.optimizer\.nesterov is True, and was left out'),
        ({'randomness.seed': 4}, r'randomness\.seed is 4, and was 0'),
    ],
)
def test_resume_with_another_config_names_the_difference(options, message):
    config = tiny_config('run', **options)
    config.resume, config.load_from = True, 'run/epoch_1.pth'
    with pytest.raises(ConfigError, match=message):
        train(config)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'randomness.seed': 4}, r'randomness\.seed is 4, and was 0'),
        ({'model.extension': 'default'}, r"model\.extension is 'default', and was left out"),
        ({'model.base.zero_init_last': False}, r'model\.base\.zero_init_last is False, and was left out'),
    ],
)
def test_fields_of_the_initial_state_cannot_change(options, message):
    with pytest.raises(
        ConfigError, match=rf'^{message} in .*epoch_2\.pth.; this determines how a run begins, .*load_from$'
    ):
        resumed(**options)


def interrupted_within_an_epoch():
    shutil.rmtree('run')
    runner = DualModelRunner.from_cfg(tiny_config('run', 2, **{'default_hooks.checkpoint.every_iters': 4}))
    runner.register_hook(Stop(5))
    with pytest.raises(InterruptedError):
        runner.train()


@pytest.mark.parametrize(
    ('within', 'options', 'schedulers', 'message'),
    [
        (True, {}, None, 'which lies within an epoch; keep its length to the end of that epoch'),
        (False, {}, [dict(type='LinearLR', end=9, by_epoch=False)], 'param_scheduler counts batches; keep the length'),
    ],
)
def test_epochs_of_another_length_raise_within_an_epoch_or_with_a_schedule_by_iteration(
    within, options, schedulers, message
):
    if within:
        interrupted_within_an_epoch()
    with pytest.raises(ConfigError, match=message):
        resumed(schedulers=schedulers, **{'train_dataloader.num_batch_per_epoch': 8})


def test_more_images_under_the_same_config_raise():
    """The config does not show it, because the root may change."""
    content = read_checkpoint(Path('run/epoch_2.pth'))
    content['train_loop']['epoch_length'] = 5
    torch.save(content, 'run/epoch_2.pth')
    with pytest.raises(
        ConfigError, match=r'has 6 batches, and had 5 in .*: give the same images and batch_size, or resume'
    ):
        resumed(epochs=2, allow_changes=False)
