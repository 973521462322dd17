import math

import pytest
import torch

from motivation.config.checks import check_config
from motivation.engine import DualOptimWrapperConstructor, WarmupStableDecayLR
from motivation.engine.optim.batch_size_rule import scale_rates
from motivation.engine.optim.schedules import build_schedules
from motivation.engine.runner import DualModelRunner
from motivation.errors import ArgumentError, ConfigError
from tests.conftest import small_dual_model, tiny_config, train
from tests.engine.resuming_runs import Stop
from tests.small import BARE

WSD = dict(type='WarmupStableDecayLR', warmup=0.25, decay=0.5)


def rates(updates, rate=0.8, **options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    schedule = WarmupStableDecayLR(optimizer, end=updates, **options)
    found = []
    for _ in range(updates):
        found.append(optimizer.param_groups[0]['lr'])
        schedule.step()
    return found


def test_phases_are_shares_of_the_run():
    expected = [0.4, 0.8, 0.8, 0.8, 0.8, 0.6, 0.4, 0.2]
    assert rates(8, warmup=0.25, decay=0.5) == pytest.approx(expected)
    assert rates(16, warmup=0.25, decay=0.5)[::2] == pytest.approx([0.2, 0.6, 0.8, 0.8, 0.8, 0.6, 0.4, 0.2])
    assert rates(4, warmup=0.0, decay=0.0) == [0.8] * 4


@pytest.mark.parametrize(
    ('shape', 'left'), [('cosine', lambda x: (1 + math.cos(math.pi * x)) / 2), ('1-sqrt', lambda x: 1 - math.sqrt(x))]
)
def test_shapes_of_the_decay(shape, left):
    expected = [0.8 * (0.1 + 0.9 * left(update / 10)) for update in range(10)]
    assert rates(10, decay=1.0, shape=shape, end_factor=0.1) == pytest.approx(expected)


def test_each_group_keeps_its_ratio():
    groups = [{'params': [torch.nn.Parameter(torch.zeros(1))], 'lr': rate} for rate in (0.8, 0.2)]
    optimizer = torch.optim.SGD(groups)
    schedule = WarmupStableDecayLR(optimizer, decay=1.0, end=4)
    schedule.step()
    assert [group['lr'] for group in optimizer.param_groups] == pytest.approx([0.6, 0.15])


def test_phases_longer_than_the_run_are_refused():
    with pytest.raises(ArgumentError, match=r'^warmup is 0\.7 and decay 0\.4, together more'):
        rates(8, warmup=0.7, decay=0.4)


@pytest.mark.parametrize(
    ('schedule', 'message'),
    [
        (dict(WSD, end=5), r'param_scheduler\.end is 5, and WarmupStableDecayLR goes over the whole run'),
        (dict(WSD, warmup=0.9), r'param_scheduler\.warmup is 0\.9 and decay 0\.5'),
        (dict(WSD, warmup=1.5), r'param_scheduler\.warmup must be at most 1, got 1\.5'),
        (dict(WSD, shape='sqrt'), r"param_scheduler\.shape must be .* got 'sqrt'; did you mean '1-sqrt'"),
    ],
)
def test_mistakes_in_a_config_are_refused_before_training(schedule, message, tmp_path):
    config = tiny_config(tmp_path, 1, **BARE)
    config.param_scheduler = schedule
    with pytest.raises(ConfigError, match=message):
        check_config(config)
        wrapper = DualOptimWrapperConstructor(dict(optimizer=dict(type='SGD', lr=0.1)))(small_dual_model())['base']
        build_schedules(lambda node: WarmupStableDecayLR(wrapper, end=8, **omit_type(node)), schedule, 1)


def omit_type(node):
    return {name: value for name, value in node.items() if name not in ('type', 'by_epoch')}


def test_a_run_resumes_with_the_same_rates_and_weights_and_another_length_needs_no_other_schedule(tmp_path):
    def made(folder, epochs=2, **fields):
        config = tiny_config(tmp_path / folder, epochs, **BARE, **{'train_dataloader.num_batch_per_epoch': 4})
        config.param_scheduler = [WSD]
        config.optim_wrapper.optimizer = dict(type='TimmOptimizer', opt='lamb', lr=0.8)
        config.optim_wrapper.clip_grad = dict(type='agc')
        config.optim_wrapper.paramwise_cfg = dict(layer_decay=0.5, weight_decay_exclude_1d=True)
        config.default_hooks.checkpoint.update(every_iters=3)
        config.update(fields)
        return config

    class Noted(Stop):
        def __init__(self, iteration=99):
            super().__init__(iteration)
            self.seen = {}

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            super().before_train_iter(runner, batch_idx, data_batch)
            self.seen[runner.iter] = runner.optim_wrapper['base'].get_lr()['lr'][0]

    def run(config, hook):
        runner = DualModelRunner.from_cfg(config)
        runner.register_hook(hook)
        if hook.iteration == 99:
            runner.train()
        else:
            with pytest.raises(InterruptedError):
                runner.train()
        return runner

    whole, begun, rest = Noted(), Noted(5), Noted()
    complete = run(made('whole'), whole)
    assert list(whole.seen.values()) == pytest.approx([0.4, 0.8, 0.8, 0.8, 0.8, 0.6, 0.4, 0.2])
    run(made('parts'), begun)
    resumed = run(made('parts', resume=True), rest)
    assert resumed.resuming and rest.seen == whole.seen
    states = [runner.model.state_dict() for runner in (complete, resumed)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    longer = Noted()
    run(made('parts', 4, resume=True, allow_changes=True), longer)
    assert {update: rate for update, rate in longer.seen.items() if update >= 8} == pytest.approx(
        {8: 0.8, 9: 0.7, 10: 0.6, 11: 0.5, 12: 0.4, 13: 0.3, 14: 0.2, 15: 0.1}
    )


@pytest.mark.parametrize(('rule', 'factor'), [({}, 0.25), (dict(rule='linear'), 0.25), (dict(rule='sqrt'), 0.5)])
def test_rates_follow_the_batch_size(rule, factor):
    wrappers = DualOptimWrapperConstructor(dict(optimizer=dict(type='SGD', lr=0.8)))(small_dual_model())
    said = []
    scale_rates(wrappers, 64, dict(enable=True, base_batch_size=256, **rule), said.append)
    assert [wrappers[name].get_lr()['lr'] for name in ('base', 'motivated')] == [[0.8 * factor]] * 2
    assert said[0].startswith(f'learning rates are scaled by {factor}')
    scale_rates(wrappers, 64, dict(enable=False, base_batch_size=256), said.append)
    assert len(said) == 1
    with pytest.raises(ConfigError, match=r'train_dataloader has no batch_size'):
        scale_rates(wrappers, None, dict(enable=True, base_batch_size=256), said.append)


def test_another_rule_is_refused(tmp_path):
    config = tiny_config(tmp_path, 1)
    config.auto_scale_lr = dict(enable=True, base_batch_size=256, rule='cubic')
    with pytest.raises(ConfigError, match=r"auto_scale_lr\.rule must be 'linear' or 'sqrt', got 'cubic'"):
        check_config(config)
    config.auto_scale_lr = dict(enable=True, base_batch_size=8, rule='sqrt')
    config.update(BARE)
    assert train(config).optim_wrapper['base'].optimizer.defaults['lr'] == 0.05
