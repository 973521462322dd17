"""Resuming with a changed config does what it announces, or raises."""

import math
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.hooks import MotivationHook
from motivation.utils.checkpoint import find_checkpoints, read_checkpoint
from tests.conftest import tiny_config, train
from tests.engine.resuming_runs import Stop, resumed

MOMENTUM, BATCHES = 'momentum_buffer', 6
pytestmark = pytest.mark.usefixtures('run_folder')


def groups(runner, name='base'):
    return runner.optim_wrapper[name].optimizer.param_groups


def rates(runner, name='base', epochs=2):
    """Return the current learning rate and those after further epochs."""
    found = [groups(runner, name)[0]['lr']]
    for _ in range(epochs - 1):
        for scheduler in runner.param_schedulers[name]:
            for _ in range(1 if scheduler.by_epoch else BATCHES):
                scheduler.step()
        found.append(groups(runner, name)[0]['lr'])
    return found


def cosine(rate, epochs, period):
    return [pytest.approx(rate / 2 * (1 + math.cos(math.pi * epoch / period))) for epoch in epochs]


def momenta(state, name='base'):
    return [entry[MOMENTUM] for _, entry in sorted(state[name]['state'].items())]


def test_finished_run_is_extended_with_a_lower_learning_rate(capsys):
    runner = resumed(**{'optim_wrapper.optimizer.lr': 0.001})
    assert 'optim_wrapper.optimizer.lr is 0.001, and was 0.05' in capsys.readouterr().out
    saved = momenta(read_checkpoint(Path('run/epoch_2.pth'))['optimizer'])
    assert all(map(torch.equal, momenta(runner.optim_wrapper.state_dict()), saved)) and saved[0].any()
    for name in ('base', 'motivated'):
        assert rates(runner, name) == cosine(0.001, (2, 3), 40)


@pytest.mark.parametrize(
    ('schedulers', 'expected'),
    [
        ([dict(type='CosineAnnealingLR', T_max=8)], cosine(0.05, (2, 3), 8)),
        ([dict(type='MultiStepLR', milestones=[1, 3])], [pytest.approx(0.005), pytest.approx(0.0005)]),
        (
            [  # a warmup by batches and a cosine behind it
                dict(type='LinearLR', start_factor=0.1, end=16, by_epoch=False),
                dict(type='CosineAnnealingLR', T_max=2, begin=3),
            ],
            [pytest.approx(0.05 * (0.1 + 0.9 * 12 / 15)), pytest.approx(0.05)],
        ),
        (
            [dict(type='CosineAnnealingLR', T_max=4, convert_to_iter_based=True)],
            [pytest.approx(0.025), cosine(0.05, (3,), 4)[0]],
        ),
        ([], [0.05, 0.05]),
    ],
)
def test_changed_schedule_applies_as_if_from_the_first_batch(schedulers, expected):
    assert rates(resumed(schedulers=schedulers)) == expected


def test_longer_run_moves_the_default_end_of_a_schedule():
    """The cosine over the two epochs of the first run would stay at its end."""
    runner = resumed(epochs=4)
    assert [scheduler.end for scheduler in runner.param_schedulers['base']] == [4]
    assert rates(runner) == cosine(0.05, (2, 3), 40)


def test_changed_decay_momentum_and_overrides_of_one_model_apply():
    options = {
        'optim_wrapper.optimizer.weight_decay': 0.0,
        'optim_wrapper.optimizer.momentum': 0.5,
        'optim_wrapper.optimizer.nesterov': True,
        'optim_wrapper.clip_grad': dict(max_norm=1.0),
        'optim_wrapper.motivated': dict(optimizer=dict(lr=0.01)),
    }
    runner = resumed(13, **options)
    for name, rate in (('base', 0.05), ('motivated', 0.01)):
        (group,) = groups(runner, name)
        assert (group['weight_decay'], group['momentum'], group['nesterov']) == (0.0, 0.5, True)
        assert [group['lr']] == cosine(rate, (2,), 40)
        assert runner.optim_wrapper[name].clip_grad_kwargs == {'max_norm': 1.0}


def test_other_groups_of_parameters_keep_their_momentum():
    decay = dict(norm_decay_mult=0.0, bias_decay_mult=0.0)
    runner = resumed(**{'optim_wrapper.paramwise_cfg': decay})
    assert {group['weight_decay'] for group in groups(runner)} == {0.0, 5e-4}
    assert all(group['lr'] == cosine(0.05, (2,), 40)[0] for group in groups(runner))
    saved = momenta(read_checkpoint(Path('run/epoch_2.pth'))['optimizer'])
    kept = [runner.optim_wrapper['base'].optimizer.state[one][MOMENTUM] for one in runner.model.base.parameters()]
    assert all(map(torch.equal, kept, saved))


def test_another_optimizer_starts_without_moments_and_reports_it(capsys):
    runner = resumed(13, **{'optim_wrapper.optimizer': dict(_delete_=True, type='AdamW', lr=1e-3)})
    assert 'the optimizer of the base model begins without the momentum' in capsys.readouterr().out
    optimizers = [runner.optim_wrapper[name].optimizer for name in ('base', 'motivated')]
    assert all(type(optimizer) is torch.optim.AdamW for optimizer in optimizers)
    assert rates(runner) == cosine(1e-3, (2, 3), 40)
    assert {int(entry['step']) for optimizer in optimizers for entry in optimizer.state.values()} == {1}


def test_schedule_that_follows_a_metric_keeps_its_state():
    plateau = dict(type='ReduceOnPlateauLR', monitor='base/accuracy/top1', rule='greater', patience=0, factor=0.5)
    plateau['threshold'] = 1000.0  # every validation but the first is none better
    shutil.rmtree('run')
    config = tiny_config('run', 3)
    config.param_scheduler = [plateau]
    train(config)  # lowered by the second validation; of the third, at its end, it is told where the run goes on
    runner = resumed(18, epochs=5, schedulers=[plateau], **{'optim_wrapper.optimizer.lr': 0.01})
    assert groups(runner)[0]['lr'] == pytest.approx(0.01 / 4)
    scheduler = runner.param_schedulers['base'][0]
    assert scheduler.best > 0 and scheduler.min_values == [0.0]
    with pytest.raises(
        ConfigError, match=r'param_scheduler has ReduceOnPlateauLR, which follows a metric, and another'
    ):
        resumed(18, epochs=5, schedulers=[plateau, dict(type='CosineAnnealingLR', T_max=9)])


def test_schedule_that_holds_functions_is_saved_without_them():
    one_cycle = dict(type='OneCycleLR', eta_max=0.1, total_steps=12, by_epoch=False)
    shutil.rmtree('run')
    config = tiny_config('run', 2)
    config.param_scheduler = [one_cycle]
    whole = DualModelRunner.from_cfg(config)
    whole.register_hook(Stop(8))
    with pytest.raises(InterruptedError):
        whole.train()
    runner = resumed(6, epochs=2, allow_changes=False, schedulers=[one_cycle])
    rate = groups(runner)[0]['lr']
    for _ in range(2):
        runner.param_schedulers['base'][0].step()
    assert groups(runner)[0]['lr'] == groups(whole)[0]['lr'] != rate


def test_state_that_cannot_be_saved_raises_before_the_first_batch():
    class Odd(Hook):
        def state_dict(self):
            return {'seen': {1}}

        def load_state_dict(self, state):
            pass

    runner = DualModelRunner.from_cfg(tiny_config('odd', 1))
    runner.register_hook(Odd())
    with pytest.raises(ConfigError, match=r"Odd\.state_dict\(\)\['seen'\] is a set, which a checkpoint cannot hold"):
        runner.train()
    assert runner.iter == 0


def test_other_hooks_are_announced_and_let_a_stopped_run_continue(capsys):
    def config(patience, **fields):
        made = tiny_config('stopped', 5)
        made.custom_hooks = [
            dict(type='EarlyStoppingHook', monitor='base/accuracy/top1', min_delta=1000, patience=patience)
        ]
        made.update(fields)
        return made

    assert train(config(1)).epoch == 2
    assert train(config(1, resume=True, allow_changes=True)).epoch == 2
    assert train(config(3, resume=True, allow_changes=True)).epoch == 4
    assert 'resuming although default_hooks or custom_hooks have changed' in capsys.readouterr().out


def test_nothing_left_to_train_is_announced(capsys):
    config = tiny_config('run', 1)
    config.update(resume=True, allow_changes=True)
    train(config)
    assert '2 epochs are over, and train_cfg.max_epochs is 1: nothing is left to train' in capsys.readouterr().out


def test_epochs_may_change_their_length(capsys):
    runner = resumed(24, epochs=4, **{'train_dataloader.batch_size': 8, 'train_dataloader.num_batch_per_epoch': 8})
    said = capsys.readouterr().out
    assert 'batch_size is 8, and was 16' in said and 'has 8 batches, and had 6' in said
    assert (runner.epoch, runner.iter, runner.max_iters) == (3, 24, 28)  # two epochs of 6, two of 8
    assert list(runner.find_hook(MotivationHook).trace.epochs) == [0] * 6 + [1] * 6 + [2] * 8 + [3] * 4
    checkpoint = read_checkpoint(find_checkpoints(Path('run'))[-1])
    assert (checkpoint['meta']['epoch'], checkpoint['meta']['iter']) == (3, 20)
    again = resumed(24, 4, False, **{'train_dataloader.batch_size': 8, 'train_dataloader.num_batch_per_epoch': 8})
    assert (again.epoch, again.iter, again.max_iters) == (3, 24, 28)


def test_signal_of_the_epoch_follows_epochs_of_another_length(capsys):
    spans = {'motivation.policy': dict(_delete_=True, type='EpochSchedule', epochs=[(2, 3)])}
    train(tiny_config('spans', 1, **spans))
    longer = {'train_dataloader.batch_size': 8, 'train_dataloader.num_batch_per_epoch': 8}
    config = tiny_config('spans', 3, **spans, **longer)
    config.resume = config.allow_changes = True
    trace = train(config).find_hook(MotivationHook).trace
    assert list(trace.motivated) == [0] * 14 + [1] * 8 == [epoch == 2 for epoch in trace.epochs]


def test_another_policy_starts_fresh_and_another_argument_keeps_the_state():
    policy = resumed(13, **{'motivation.policy.drops': 1}).find_hook(MotivationHook).policy
    assert policy.drops == 1 and policy.previous is not None
    runner = resumed(13, **{'motivation.policy': dict(_delete_=True, type='RandomGate', rate=0.5)})
    assert len(runner.find_hook(MotivationHook).trace) == 13


def test_run_without_a_seed_resumes_with_the_same_seed():
    shutil.rmtree('run')
    first = train(tiny_config('run', 1, **{'randomness.seed': None}))
    runner = resumed(7, 2, **{'randomness.seed': None})
    assert runner.seed == first.seed and runner.train_dataloader.dataset.seed == (first.seed, 0)
