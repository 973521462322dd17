import copy

import pytest
import torch

from motivation.engine.optim_wrapper_constructor import DualOptimWrapperConstructor
from motivation.errors import ConfigError
from tests.conftest import small_batch, small_dual_model, snapshot


def optimizers(model, **optimizer):
    config = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.1, **optimizer))
    return DualOptimWrapperConstructor(config)(model)


def is_statistic(name):
    return name.endswith(('running_mean', 'running_var', 'num_batches_tracked'))


def test_begins_with_the_base_model():
    assert small_dual_model().active == 'base'


@pytest.mark.parametrize('placement', ['leading', 'spread'])
def test_after_a_spell_every_mapped_tensor_is_equal_in_both(placement):
    model = small_dual_model(placement=placement)
    wrappers = optimizers(model)
    model.train()
    model.train_step(small_batch(0), wrappers)
    model.activate()
    model.train_step(small_batch(1), wrappers)
    model.train_step(small_batch(2), wrappers)
    trained = snapshot(model.motivated)
    model.deactivate()
    base, motivated = model.base.state_dict(), model.motivated.state_dict()
    for pair in model.weight_map.pairs:
        if not is_statistic(pair.base):
            assert torch.equal(base[pair.base], motivated[pair.motivated]), pair
            assert torch.equal(base[pair.base], trained[pair.motivated]), pair  # what the motivated model learned


def test_activation_hands_the_base_weights_to_the_motivated_model():
    model = small_dual_model()
    wrappers = optimizers(model)
    model.train_step(small_batch(), wrappers)
    learned = snapshot(model.base)
    model.activate()
    motivated = model.motivated.state_dict()
    for pair in model.weight_map.pairs:
        if not is_statistic(pair.base):
            assert torch.equal(motivated[pair.motivated], learned[pair.base]), pair


@pytest.mark.parametrize('active', ['base', 'motivated'])
def test_inactive_model_does_not_move_by_a_bit(active):
    """Weights, statistics, gradients and optimizer state, with momentum and weight decay pulling at them."""
    model = small_dual_model()
    wrappers = optimizers(model)
    for step in range(2):  # both optimizers have momentum
        model.train_step(small_batch(step), wrappers)
    model.activate()
    for step in range(2):
        model.train_step(small_batch(step), wrappers)
    if active == 'base':
        model.deactivate()
    inactive = 'motivated' if active == 'base' else 'base'
    weights, state = snapshot(getattr(model, inactive)), copy.deepcopy(wrappers[inactive].state_dict())
    moved = snapshot(getattr(model, active))
    for step in range(3):
        outputs = model.train_step(small_batch(step), wrappers)
        assert outputs['motivated'] == (active == 'motivated')
    for name, tensor in getattr(model, inactive).state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    after = wrappers[inactive].state_dict()
    assert after['param_groups'] == state['param_groups']
    assert after['state'].keys() == state['state'].keys()
    for index, entry in after['state'].items():
        assert torch.equal(entry['momentum_buffer'], state['state'][index]['momentum_buffer'])
    assert all(parameter.grad is None for parameter in getattr(model, inactive).parameters())
    assert any(not torch.equal(t, moved[name]) for name, t in getattr(model, active).state_dict().items())


def test_extension_is_untouched_while_the_base_is_active():
    model = small_dual_model()
    wrappers = optimizers(model)
    extension = {name: tensor.detach().clone() for name, tensor in model.weight_map.extension().items()}
    for step in range(3):
        model.train_step(small_batch(step), wrappers)
    model.transfer()
    model.activate()
    for name, tensor in model.weight_map.extension().items():
        assert torch.equal(tensor, extension[name]), name


def test_private_statistics_stay_with_their_model():
    model = small_dual_model('private')
    wrappers = optimizers(model)
    for step in range(3):
        model.train_step(small_batch(step), wrappers)
    model.activate()
    model.train_step(small_batch(3), wrappers)
    assert model.base.state_dict()['backbone.bn1.num_batches_tracked'] == 3
    assert model.motivated.state_dict()['backbone.bn1.num_batches_tracked'] == 1


def test_shared_statistics_travel_with_the_weights():
    model = small_dual_model('shared')
    wrappers = optimizers(model)
    for step in range(3):
        model.train_step(small_batch(step), wrappers)
    model.activate()
    model.train_step(small_batch(3), wrappers)
    model.deactivate()
    base, motivated = model.base.state_dict(), model.motivated.state_dict()
    assert base['backbone.bn1.num_batches_tracked'] == 4
    assert torch.equal(base['backbone.bn1.running_mean'], motivated['backbone.bn1.running_mean'])


@pytest.mark.parametrize('statistics', ['private', 'shared'])
def test_making_both_current_does_not_change_what_training_does_next(statistics):
    """As validation, export and checkpoints do, at any moment."""

    def run(looking):
        model = small_dual_model(statistics)
        wrappers = optimizers(model)
        for step, switch in enumerate(['stay', 'activate', 'stay', 'deactivate', 'stay', 'activate', 'stay']):
            model.train_step(small_batch(step), wrappers)
            if switch != 'stay':
                getattr(model, switch)()
            if looking:
                model.transfer()
                model.eval()
                model.val_step(small_batch())
                model.train()
        model.transfer()
        return snapshot(model)

    undisturbed, looked_at = run(False), run(True)
    assert undisturbed.keys() == looked_at.keys()
    for name, tensor in undisturbed.items():
        assert torch.equal(tensor, looked_at[name]), name


def test_waking_the_active_model_again_loses_nothing():
    model = small_dual_model()
    wrappers = optimizers(model)
    model.activate()
    model.train_step(small_batch(), wrappers)
    trained = snapshot(model.motivated)
    model.activate()
    assert all(torch.equal(tensor, trained[name]) for name, tensor in model.motivated.state_dict().items())


def test_state_dict_restores_which_model_is_active():
    model, restored = small_dual_model(), small_dual_model(seed=1)
    model.activate()
    restored.load_state_dict(model.state_dict())
    assert restored.active == 'motivated'
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in restored.state_dict().items())


def test_copy_has_a_map_of_its_own():
    model = small_dual_model()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.base.backbone.fc.bias.fill_(5)
    twin.activate()
    assert twin.motivated.backbone.fc.bias[0] == 5 and model.motivated.backbone.fc.bias[0] != 5


def test_each_model_equals_its_standalone_training():
    """Stepping the base inside the pair is stepping the base: a bare PyTorch loop gives the same weights."""
    model = small_dual_model()
    alone = copy.deepcopy(model.base)
    wrappers = optimizers(model)
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for step in range(3):
        model.train_step(small_batch(step), wrappers)
        data = alone.data_preprocessor(small_batch(step), True)
        loss = torch.nn.functional.cross_entropy(alone.backbone(data['inputs']), data['targets'])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, tensor in alone.state_dict().items():
        assert torch.equal(tensor, model.base.state_dict()[name]), name


def test_refuses_unknown_statistics():
    with pytest.raises(ConfigError, match=r"model\.statistics is 'none'; it must be 'private' or 'shared'"):
        small_dual_model('none')
