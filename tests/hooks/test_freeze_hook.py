import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook

from motivation.compute.macs import measure_model
from motivation.engine import DualOptimWrapperConstructor
from motivation.engine.runner import DualModelRunner
from motivation.errors import ArgumentError, ConfigError
from motivation.hooks import FreezeHook
from motivation.structures import MODEL_NAMES
from tests.conftest import ROOT, small_batch, small_dual_model, snapshot, tiny_config
from tests.engine.forked_processes import two_forks
from tests.engine.resuming_runs import Stop
from tests.small import BARE

STEM = ('backbone.conv1', 'backbone.bn1', 'backbone.layer1')
SGD = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.1)


class Epochs(Hook):
    """Notes the weights of both models after each epoch."""

    def __init__(self):
        self.seen = []

    def after_train_epoch(self, runner):
        runner.model.transfer()
        self.seen.append({name: snapshot(getattr(runner.model, name)) for name in MODEL_NAMES})


def made(folder, epochs=2, hooks=(dict(type='FreezeHook', parameters=list(STEM), end=1),), **fields):
    config = tiny_config(folder, epochs, **BARE, **{'train_dataloader.num_batch_per_epoch': 4})
    config.motivation.policy = dict(type='Periodic', on=1, off=1)
    config.optim_wrapper.optimizer = dict(**SGD)
    config.default_hooks.checkpoint.update(every_iters=3)
    config.custom_hooks = [dict(hook) for hook in hooks]
    config.update(fields)
    return config


def run(config, *hooks):
    runner = DualModelRunner.from_cfg(config)
    for hook in hooks:
        runner.register_hook(hook)
    before = {name: snapshot(getattr(runner.model, name)) for name in MODEL_NAMES}
    return runner, before


def moved(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    epochs = Epochs()
    runner, before = run(made(tmp_path_factory.mktemp('whole')), epochs)
    runner.train()
    return runner, before, epochs.seen


def test_frozen_parts_of_both_models_stay_and_train_again_afterwards(whole):
    runner, before, (first, second) = whole
    for name in MODEL_NAMES:
        still = {tensor for tensor in before[name] if tensor.startswith(STEM)}
        shared = still & before['base'].keys()  # the zero extension of the motivated model begins at the first transfer
        assert moved(before[name], first[name]).isdisjoint(shared)
        trained = moved(before[name], first[name])
        assert {tensor for tensor in before['base'] if not tensor.startswith(STEM)} <= trained
        assert shared <= moved(first[name], second[name])
    assert all(parameter.requires_grad for parameter in runner.model.parameters())


def test_a_stopped_run_resumes_exactly(whole, tmp_path):
    stopped, _ = run(made(tmp_path), Stop(3))  # within the frozen epoch
    with pytest.raises(InterruptedError):
        stopped.train()
    resumed, _ = run(made(tmp_path, resume=True))
    resumed.train()
    expected, found = whole[0].model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def hooked(model, *hooks, epoch=0):
    """Return a stand-in for a runner, with the hooks applied."""
    said = []
    runner = SimpleNamespace(model=model, hooks=hooks, epoch=epoch, cfg={}, announce=said.append, said=said)
    for hook in hooks:
        hook.before_run(runner)
    for hook in hooks:
        hook.before_train_epoch(runner)
    return runner


def frozen(model):
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def test_several_hooks_freeze_what_any_of_them_does():
    model = small_dual_model()
    hooks = FreezeHook(STEM[:1], end=3), FreezeHook(STEM[:2], end=2), FreezeHook(['backbone.layer3'], begin=2)
    runner = hooked(model, *hooks)
    bn1 = {'backbone.bn1.weight', 'backbone.bn1.bias'}
    assert frozen(model.base) == {'backbone.conv1.weight', *bn1}
    assert runner.said == [
        'epoch 1: frozen are 3 parameters of the base model (1% of its entries) and 3 parameters of the motivated model '
        '(0% of its entries)'
    ]
    for epoch, expected in ((1, {'backbone.conv1.weight', *bn1}), (2, {'backbone.conv1.weight'}), (3, set())):
        runner.epoch = epoch
        for hook in hooks:
            hook.before_train_epoch(runner)
        assert {name for name in frozen(model.base) if 'layer3' not in name} == expected
        assert any('layer3' in name for name in frozen(model.motivated)) is (epoch >= 2)


def test_what_the_network_froze_itself_stays_frozen():
    model = small_dual_model()
    for name in MODEL_NAMES:
        getattr(model, name).backbone.conv1.weight.requires_grad_(False)
    hook = FreezeHook(STEM[:2], end=1)
    runner = hooked(model, hook)
    runner.epoch = 1
    hook.before_train_epoch(runner)
    assert frozen(model.base) == {'backbone.conv1.weight'}


def test_frozen_parameters_keep_their_momentum_and_their_statistics():
    model, batch = small_dual_model(), small_batch()
    wrappers = DualOptimWrapperConstructor(dict(optimizer=SGD))(model)
    model.train().train_step(batch, wrappers)
    before = snapshot(model.base)
    momentum = wrappers['base'].optimizer.state[model.base.backbone.conv1.weight]['momentum_buffer'].clone()
    hook = FreezeHook(STEM)
    runner = hooked(model, hook)
    model.train()
    hook.before_train_iter(runner, 0)
    model.train_step(batch, wrappers)
    assert not any(name.startswith(STEM) for name in moved(before, snapshot(model.base)))
    assert torch.equal(momentum, wrappers['base'].optimizer.state[model.base.backbone.conv1.weight]['momentum_buffer'])


def test_backward_compute_of_frozen_parts_is_not_counted():
    model, sample = small_dual_model(), small_batch(images=1)
    free = measure_model(model.base, sample, False, 4).step
    hooked(model, FreezeHook(STEM))
    less = measure_model(model.base, sample, False, 4).step
    # At 16 x 16 px: the weights of conv1 and of the two of layer1, and the inputs of the latter, have no gradient; nor
    # have the inputs of the two convolutions of layer2 that read layer1. A gradient costs what the forward pass does.
    pixels = 16 * 16
    conv1, layer1 = 3 * 16 * 9 * pixels, 2 * 16 * 16 * 9 * pixels
    layer2, shortcut = 16 * 32 * 9 * pixels // 4, 16 * 32 * pixels // 4
    backbone = model.base.backbone
    channels = backbone.conv1.weight.shape[1]
    conv1 = conv1 * channels // 3
    assert less.forward == free.forward
    assert free.backward.per_image - less.backward.per_image == conv1 + 2 * layer1 + layer2 + shortcut


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(parameters=[]), r"^parameters must be a list that is not empty"),
        (dict(parameters=['a'], begin=2, end=2), r'^end must be above begin, which is 2, got 2'),
        (dict(parameters=['a'], begin=-1), r'^begin must be at least 0, got -1'),
        (dict(parameters=['a'], model='small'), r"^model must be 'base' or 'motivated' or None, got 'small'"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        FreezeHook(**arguments)


def test_names_that_match_nothing_are_refused_before_training(tmp_path):
    runner, _ = run(made(tmp_path, hooks=[dict(type='FreezeHook', parameters=['backbone.layr1'])]))
    with pytest.raises(ConfigError, match=r"hook FreezeHook\.parameters has 'backbone\.layr1', .* did you mean"):
        runner.train()


TOGETHER = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import json
import torch
from motivation.utils.distributed import join_processes
from motivation.engine import DualOptimWrapperConstructor
from motivation.engine.parallel import train_together
from motivation.hooks import FreezeHook
from tests.conftest import small_batch, small_dual_model
from tests.hooks.test_freeze_hook import STEM, hooked
join_processes()
rank = torch.distributed.get_rank()
model = small_dual_model()
optim_wrapper = DualOptimWrapperConstructor(dict(optimizer=dict(type='SGD', lr=0.1)))(model)
train_together(model, {{}})
hook = FreezeHook(STEM, end=1)
runner = hooked(model, hook)
sums = []
for epoch in range(2):
    runner.epoch = epoch
    hook.before_train_epoch(runner)
    for step in range(4):
        model.train_step(small_batch(seed=2 * step + rank), optim_wrapper)
        (model.activate, model.deactivate)[step % 2]()
    sums.append([model.base.backbone.conv1.weight.double().sum().item(), model.motivated.backbone.fc.weight.double().sum().item()])
open(f'{{sys.argv[1]}}/{{rank}}.json', 'w').write(json.dumps(sums))
"""


def test_processes_agree_while_parts_are_frozen_and_afterwards(tmp_path):
    (tmp_path / 'together.py').write_text(TOGETHER)
    two_forks(tmp_path / 'together.py', tmp_path)
    first, second = (json.loads((tmp_path / f'{rank}.json').read_text()) for rank in range(2))
    assert first == second
    assert first[0][0] == small_dual_model().base.backbone.conv1.weight.double().sum().item() != first[1][0]


@pytest.mark.parametrize('parts', [None, [dict(share=0.5), dict(share=0.5, image_size=6)]])
def test_report_of_a_finished_run_is_the_same_after_a_resume(tmp_path, parts):
    """A resume begins with nothing frozen and images of full size, and trains on no batch."""
    reports, hooks = [], () if parts else (dict(type='FreezeHook', parameters=list(STEM), end=1),)
    for resume in (False, True):
        config = made(tmp_path / 'run', 1, hooks)
        config.default_hooks.report = dict(type='ReportHook', picture=False)
        config.default_hooks.compute_meter = dict(type='ComputeMeterHook')
        config.train_cfg.parts, config.resume = parts, resume
        DualModelRunner.from_cfg(config).train()
        reports.append(json.loads((tmp_path / 'run/report.json').read_text()))
        (tmp_path / 'run/report.json').unlink()
    for report in reports:
        del report['wall_seconds']
    assert reports[0] == reports[1] and reports[0]['base']['backward_macs_per_image'] > 0
