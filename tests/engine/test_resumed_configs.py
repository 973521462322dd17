"""A resumed run equals an uninterrupted one, whatever the config: policies, statistics, optimizers, meters."""

import pytest

from motivation.hooks import MotivationHook
from motivation.utils.checkpoint import find_checkpoints
from tests.conftest import tiny_config
from tests.engine.stopped_runs import At, assert_same, config, copying, train

GRADIENT = dict(type='GradientNorm', above=1.2, relative=0.5)


@pytest.mark.parametrize(
    'options',
    [
        {'motivation.policy': dict(_delete_=True, type='Any', policies=[GRADIENT, dict(type='RandomGate', rate=0.3)])},
        {
            'meter': True,
            'optim_wrapper.clip_grad': dict(max_norm=1.0),
            'optim_wrapper.optimizer': dict(_delete_=True, type='AdamW', lr=1e-3),
            'model.optimizer_state': 'transfer',
            'model.distillation': dict(weight=0.5),
            'model.recalibrate': 64,
        },
    ],
    ids=['random-and-gradient', 'clipped-adamw-distillation-recalibration'],
)
def test_run_resumes_within_an_epoch(tmp_path, options):
    copy = At('before_train_iter', 10, copying(tmp_path / 'whole', tmp_path / 'run'))
    whole = train(config(tmp_path / 'whole', **options), copy)
    assert find_checkpoints(tmp_path / 'run')[-1].name == 'epoch_1_iter_10.pth'
    assert_same(train(config(tmp_path / 'run', resume=True, **options)), whole)


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
                # Decided by the validation of the first epoch, which comes before the checkpoint.
                policy=dict(type='Any', policies=[dict(type='ValidationGain', min_gain=-100), GRADIENT]),
            )
        },
    ],
    ids=['consecutive-sgd', 'random-gate-workers', 'shared-adamw', 'signals'],
)
def test_run_stopped_within_the_second_epoch_resumes_from_the_end_of_the_first(tmp_path, options):
    copy = At('before_train_iter', 9, copying(tmp_path / 'whole', tmp_path / 'run'))
    whole = train(tiny_config(tmp_path / 'whole', 3, **options), copy)
    assert 0 < sum(whole.find_hook(MotivationHook).trace.motivated) < 18  # both models trained
    resumed = tiny_config(tmp_path / 'run', 3, **options)
    resumed.resume, resumed.load_from = True, str(find_checkpoints(tmp_path / 'run')[-1])
    assert resumed.load_from.endswith('epoch_1.pth')
    assert_same(train(resumed), whole)
