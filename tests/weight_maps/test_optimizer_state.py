import pytest
import torch
from timm.optim import MADGRAD
from torch import nn

from motivation.errors import ConfigError
from motivation.weight_maps import OptimizerStateTransfer, WeightMap

ROWS = (0, 2, 5)


def models(seed=0):
    torch.manual_seed(seed)
    base, motivated = nn.Linear(4, 3), nn.Linear(4, 6)
    weight_map = WeightMap(base, motivated, [('weight', 'weight', (ROWS, None)), ('bias', 'bias', (ROWS,))])
    return base, motivated, OptimizerStateTransfer(weight_map)


def step(model, optimizer):
    optimizer.zero_grad()
    model(torch.randn(8, 4)).square().sum().backward()
    optimizer.step()


def test_momentum_is_transferred_by_the_index_of_the_weight():
    base, motivated, state = models()
    optimizers = {'base': torch.optim.SGD(base.parameters(), lr=0.1, momentum=0.9),
                  'motivated': torch.optim.SGD(motivated.parameters(), lr=0.1, momentum=0.9)}  # fmt: skip
    step(base, optimizers['base'])
    state.transfer('base', optimizers)
    ours, theirs = (
        optimizers[n].state[m.weight]['momentum_buffer'] for n, m in (('base', base), ('motivated', motivated))
    )
    assert torch.equal(theirs[list(ROWS)], ours)
    assert not theirs[[1, 3, 4]].any()  # the extension has had no step
    step(motivated, optimizers['motivated'])
    extension = theirs[[1, 3, 4]].clone()
    state.transfer('motivated', optimizers)
    assert torch.equal(ours, theirs[list(ROWS)]) and extension.any()
    step(base, optimizers['base'])
    state.transfer('base', optimizers)
    assert torch.equal(theirs[list(ROWS)], ours) and torch.equal(theirs[[1, 3, 4]], extension)


def test_moments_and_step_counts_are_transferred():
    base, motivated, state = models()
    optimizers = {'base': torch.optim.AdamW(base.parameters()), 'motivated': torch.optim.AdamW(motivated.parameters())}
    for _ in range(3):
        step(base, optimizers['base'])
    state.transfer('base', optimizers)
    ours, theirs = optimizers['base'].state[base.bias], optimizers['motivated'].state[motivated.bias]
    assert theirs['step'] == 3 and theirs['step'] is not ours['step']
    for name in ('exp_avg', 'exp_avg_sq'):
        assert torch.equal(theirs[name][list(ROWS)], ours[name])


def test_optimizer_without_state_transfers_nothing():
    base, motivated, state = models()
    optimizers = {'base': torch.optim.Adam(base.parameters()), 'motivated': torch.optim.Adam(motivated.parameters())}
    step(motivated, optimizers['motivated'])
    before = optimizers['motivated'].state[motivated.weight]['exp_avg'].clone()
    state.transfer('base', optimizers)
    assert torch.equal(optimizers['motivated'].state[motivated.weight]['exp_avg'], before)


def test_base_trained_alternately_equals_one_optimizer():
    """With all of the model mapped and transferred state, two optimizers equal one."""
    torch.manual_seed(0)
    base, motivated, alone = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)
    alone.load_state_dict(base.state_dict())
    weight_map = WeightMap(base, motivated, [('weight', 'weight'), ('bias', 'bias')])
    state = OptimizerStateTransfer(weight_map)
    build = lambda model: torch.optim.AdamW(model.parameters(), lr=0.05)  # noqa: E731
    optimizers, single = {'base': build(base), 'motivated': build(motivated)}, build(alone)
    for turn in range(6):
        name, model = (('base', base), ('motivated', motivated))[turn % 2]
        torch.manual_seed(turn)
        step(model, optimizers[name])
        weight_map.transfer(name)
        state.transfer(name, optimizers)
        torch.manual_seed(turn)
        step(alone, single)
    assert torch.equal(base.weight, alone.weight) and torch.equal(motivated.bias, alone.bias)


def test_state_of_another_shape_is_an_error():
    base, motivated, state = models()
    optimizers = {
        'base': torch.optim.Adafactor(base.parameters()),
        'motivated': torch.optim.Adafactor(motivated.parameters()),
    }
    step(base, optimizers['base'])
    with pytest.raises(
        ConfigError, match=r"optimizer_state is 'transfer', but Adafactor keeps 'row_var' of shape .*'separate'"
    ):
        state.transfer('base', optimizers)


def test_a_copy_of_the_weights_begins_as_the_weights_in_the_extension():
    base, motivated, state = models()
    optimizers = {
        'base': MADGRAD(base.parameters(), lr=0.1),
        'motivated': MADGRAD(motivated.parameters(), lr=0.1),
    }
    step(base, optimizers['base'])
    state.transfer('base', optimizers)
    ours, theirs = optimizers['base'].state[base.weight]['x0'], optimizers['motivated'].state[motivated.weight]['x0']
    assert torch.equal(theirs[list(ROWS)], ours)
    assert torch.equal(theirs[[1, 3, 4]], motivated.weight[[1, 3, 4]])
