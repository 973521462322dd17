"""The method in a plain PyTorch loop and in the runner."""

import copy

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn
from torch.nn.functional import cross_entropy

from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.hooks import MotivationHook
from motivation.method import Motivation
from motivation.policies import Always, ConsecutiveDrop, GradientNorm, Never, SwitchPolicy
from motivation.weight_maps import AutoMap, DepthMap
from tests.small import small_config

B, M = 'base', 'motivated'


class Residual(nn.Module):
    """A plain PyTorch module of one or two residual blocks."""

    def __init__(self, blocks):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(blocks))
        self.head = nn.Linear(4, 3)

    def forward(self, inputs):
        for block in self.blocks:
            inputs = inputs + block(inputs).relu()
        return self.head(inputs)


def small_method(policy, **kwargs):
    torch.manual_seed(0)
    base, motivated = Residual(1), Residual(2)
    return Motivation(base, motivated, DepthMap(base, motivated), policy, **kwargs)


@pytest.mark.parametrize(
    ('drops', 'losses', 'active'),
    [
        # Two drops (batches 1 and 2) activate it for batch 3; the rise at batch 4 ends the spell after batch 4.
        (2, [5, 4, 3, 2, 4, 5, 6], [B, B, B, M, M, B, B]),
        # The streak continues across the switch: batch 3 is compared with batch 2 of the other model.
        (2, [5, 4, 3, 2, 1, 0], [B, B, B, M, M, M]),
        # A spell of a single batch, and a second one after two more drops.
        (2, [5, 4, 3, 9, 8, 7, 9, 9], [B, B, B, M, B, B, M, B]),
        # One drop activates it for the next batch.
        (1, [5, 4, 5, 4, 3], [B, B, M, B, M]),
        # Never two drops in a row, and an equal loss is not a drop.
        (2, [5, 4, 4, 3, 5, 4], [B, B, B, B, B, B]),
        # The first batch is always the base model's.
        (1, [0.0, -1.0], [B, B]),
    ],
)
def test_active_model_on_hand_made_losses(drops, losses, active):
    method, seen = small_method(ConsecutiveDrop(drops=drops)), []
    for loss in losses:
        seen.append(method.active)
        assert method.model is method.models[method.active]
        method.observe(float(loss))
    assert seen == active


def fill(module, value):
    for parameter in module.parameters():
        nn.init.constant_(parameter, value)


def test_weights_are_transferred_only_when_the_decision_changes():
    """Mapped tensors only, not block 1 of the motivated model, which is the extension."""
    method = small_method(ConsecutiveDrop(drops=1))
    base, motivated = method.models[B], method.models[M]
    extension = copy.deepcopy(motivated.blocks[1])
    fill(base, 3.0)
    assert method.observe(5.0) is False
    assert motivated.head.bias.tolist() != [3.0] * 3  # nothing has changed, nothing moves
    assert method.observe(4.0) is True  # base -> motivated
    assert motivated.head.bias.tolist() == [3.0] * 3 and motivated.blocks[0].weight.unique().tolist() == [3.0]
    fill(motivated, 7.0)
    assert method.observe(3.0) is True  # stays active
    assert base.head.bias.tolist() == [3.0] * 3
    assert method.observe(4.0) is False  # motivated -> base
    assert base.head.bias.tolist() == [7.0] * 3 and base.blocks[0].weight.unique().tolist() == [7.0]
    assert not torch.equal(motivated.blocks[1].weight, extension.weight)  # only training had moved it


def test_state_dict_restores_active_model_policy_and_was_woken():
    method = small_method(ConsecutiveDrop(drops=2))
    for loss in (5.0, 4.0):
        method.observe(loss)
    restored = small_method(ConsecutiveDrop(drops=2))
    restored.load_state_dict(method.state_dict())
    assert restored.observe(3.0) is True and restored.active == M and restored.was_woken


def test_missing_signal_and_missing_decision_are_an_error():
    with pytest.raises(ValueError, match=r'^GradientNorm\(.*\) needs grad_norm: observe\(loss, grad_norm=\.\.\.\)$'):
        small_method(GradientNorm(above=1.0)).observe(1.0)

    class Silent(SwitchPolicy):
        def update(self, loss):
            pass

    with pytest.raises(ConfigError, match=r'^Silent\.update must return True or False, got None$'):
        small_method(Silent()).observe(1.0)

    class Probability(SwitchPolicy):
        def update(self, loss):
            return 0.3

    with pytest.raises(ConfigError, match=r'^Probability\.update must return True or False, got 0\.3$'):
        small_method(Probability()).observe(1.0)
    with pytest.raises(ValueError, match=r'^policy must be a SwitchPolicy, .*, got None$'):
        small_method(None)
    with pytest.raises(ValueError, match=r"^optimizers must be of 'base' and of 'motivated', got \['base'\]$"):
        small_method(Never(), optimizers={'base': None})
    with pytest.raises(ValueError, match=r"^statistics must be 'private' or 'shared', got 'mine'$"):
        small_method(Never(), statistics='mine')


def test_weight_map_of_other_models_is_an_error():
    torch.manual_seed(0)
    base, motivated = Residual(1), Residual(2)
    weight_map = DepthMap(base, motivated)
    for models, name in (((base, Residual(2)), M), ((Residual(1), motivated), B), ((motivated, base), B)):
        with pytest.raises(
            ValueError, match=f'^weight_map must be of the models given, got that of another {name} model$'
        ):
            Motivation(*models, weight_map, Never())


def test_momentum_is_transferred_if_optimizers_are_given():
    torch.manual_seed(0)
    base, motivated = Residual(1), Residual(2)
    optimizers = {
        name: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9) for name, model in ((B, base), (M, motivated))
    }
    method = Motivation(base, motivated, DepthMap(base, motivated), Always(), optimizers=optimizers)
    method.model(torch.ones(2, 4)).sum().backward()
    optimizers[B].step()
    method.observe(1.0)
    momenta = [
        optimizers[name].state[model.head.weight]['momentum_buffer'] for name, model in ((B, base), (M, motivated))
    ]
    assert momenta[0].abs().sum() > 0 and torch.equal(*momenta)


class Keep(Hook):
    """Keeps the initial weights of a run and every batch."""

    def before_train(self, runner):
        self.model, self.batches = copy.deepcopy(runner.model), []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.batches.append(copy.deepcopy(data_batch))


def test_plain_loop_and_runner_end_with_equal_weights_and_switches(tmp_path):
    """With the same batches; the plain loop is that of the README."""
    config = small_config(tmp_path / 'run', 2)
    config.param_scheduler = []
    config.motivation = dict(policy=dict(type='ConsecutiveDrop', drops=1))
    config.model.extension = 'default'
    runner, kept = DualModelRunner.from_cfg(config), Keep()
    runner.register_hook(kept, 'VERY_HIGH')
    runner.train()

    base, motivated = kept.model.base.train(), kept.model.motivated.train()
    optimizers = {
        name: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
        for name, model in ((B, base), (M, motivated))
    }
    method, active = Motivation(base, motivated, AutoMap(base, motivated), ConsecutiveDrop(drops=1)), []
    for batch in kept.batches:
        prepared = base.data_preprocessor(batch, True)
        active.append(method.active)
        loss = cross_entropy(method.model(prepared['inputs']), prepared['targets'])
        loss.backward()
        optimizers[method.active].step()
        optimizers[method.active].zero_grad()
        method.observe(loss.item())
    method.transfer()

    assert [name == M for name in active] == [bool(m) for m in runner.find_hook(MotivationHook).trace.motivated]
    assert 0 < active.count(M) < len(active)
    for name in (B, M):
        ours, theirs = getattr(runner.model, name).state_dict(), method.models[name].state_dict()
        for key, tensor in ours.items():
            assert torch.equal(tensor, theirs[key]), (name, key)
