import copy

import pytest
import torch
from mmengine.model import BaseModel
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from motivation.engine.optim.optim_wrapper import DualOptimWrapperConstructor
from motivation.errors import ConfigError
from motivation.models import DualModel
from motivation.policies import Never
from motivation.registry import MODELS
from tests.conftest import classifier, small_batch, small_dual_model, snapshot


def optimizers(model, **optimizer):
    config = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.1, **optimizer))
    return DualOptimWrapperConstructor(config)(model)


def is_statistic(name):
    return name.endswith(('running_mean', 'running_var', 'num_batches_tracked'))


def test_base_model_is_active_first():
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


def test_activation_copies_the_base_weights_to_the_motivated_model():
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
def test_inactive_model_does_not_change(active):
    """Neither weights, statistics, gradients nor optimizer state, in spite of momentum and weight decay."""
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


def test_extension_does_not_change_while_the_base_is_active():
    model = small_dual_model()
    wrappers = optimizers(model)
    extension = {name: tensor.detach().clone() for name, tensor in model.weight_map.extension().items()}
    for step in range(3):
        model.train_step(small_batch(step), wrappers)
    model.transfer()
    model.activate()
    for name, tensor in model.weight_map.extension().items():
        assert torch.equal(tensor, extension[name]), name


def test_private_statistics_are_not_transferred():
    model = small_dual_model('private')
    wrappers = optimizers(model)
    for step in range(3):
        model.train_step(small_batch(step), wrappers)
    model.activate()
    model.train_step(small_batch(3), wrappers)
    model.deactivate()
    model.train_step(small_batch(4), wrappers)
    assert model.base.state_dict()['backbone.bn1.num_batches_tracked'] == 3 + 1
    # At the first activation it inherits the base model's, whose function it computes; then each keeps its own.
    assert model.motivated.state_dict()['backbone.bn1.num_batches_tracked'] == 3 + 1
    model.activate()
    model.train_step(small_batch(5), wrappers)
    assert model.motivated.state_dict()['backbone.bn1.num_batches_tracked'] == 3 + 2


def test_shared_statistics_are_transferred_with_the_weights():
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
def test_transfer_does_not_affect_training(statistics):
    """Transfer after a batch, as validation, export and checkpoints do."""

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


def test_activating_an_active_model_does_nothing():
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


def test_deep_copy_has_its_own_weight_map():
    model = small_dual_model()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.base.backbone.fc.bias.fill_(5)
    twin.activate()
    assert twin.motivated.backbone.fc.bias[0] == 5 and model.motivated.backbone.fc.bias[0] != 5


def test_each_model_equals_its_standalone_training():
    """A plain PyTorch loop over the base model alone gives the same weights."""
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


def test_unknown_statistics_are_an_error():
    with pytest.raises(ConfigError, match=r"^statistics must be 'private' or 'shared', got 'none'$"):
        small_dual_model('none')


def vit(width, depth):
    kwargs = dict(img_size=16, patch_size=8, embed_dim=width, num_heads=width // 8, depth=depth)
    return classifier('test_vit', **kwargs)


def test_zero_extension_computes_the_base_function_at_the_first_activation():
    """Also after base steps have changed weights and statistics, with private statistics."""
    torch.manual_seed(0)
    model = DualModel(
        base=classifier('cifar_resnet8', zero_init_last=False),
        motivated=classifier('cifar_resnet20', zero_init_last=False, width=2),
        extension='zero',
    )
    assert model.extension_caveats == []
    wrappers = optimizers(model)
    for step in range(3):
        model.train_step(small_batch(step), wrappers)
    model.activate()
    model.eval()
    inputs = model.base.data_preprocessor(small_batch(9))['inputs']
    torch.testing.assert_close(model.motivated(inputs), model.base(inputs), rtol=1e-4, atol=1e-5)

    restored = copy.deepcopy(model)
    restored.load_state_dict(model.state_dict())
    for one in (model, restored):  # from now on each keeps its own statistics
        one.train()
        one.train_step(small_batch(4), optimizers(one))
        one.deactivate()
        mean = 'backbone.bn1.running_mean'
        assert not torch.equal(one.base.state_dict()[mean], one.motivated.state_dict()[mean][:16])


def test_zero_extension_reports_where_it_is_not_exact():
    model = DualModel(base=vit(16, 1), motivated=vit(24, 2), extension='zero')
    (caveat,) = model.extension_caveats
    assert caveat == "3 norms take their statistics over more channels ('backbone.blocks.0.norm1' first)"
    assert DualModel(base=vit(16, 1), motivated=vit(16, 2), extension='zero').extension_caveats == []


def test_model_of_unknown_image_size_keeps_its_extension_with_a_caveat():
    @MODELS.register_module(force=True)
    class Layers(BaseModel):
        def __init__(self, count):
            super().__init__()
            self.layers = torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(count)))

        def forward(self, inputs, mode='tensor'):
            return self.layers(inputs)

    model = DualModel(
        base=dict(type='Layers', count=1), motivated=dict(type='Layers', count=2), weight_map=dict(type='DepthMap')
    )
    (caveat,) = model.extension_caveats
    assert caveat.startswith('the size of the images that Layers takes is not known')
    assert model.motivated.layers[1].weight.any()


@pytest.mark.parametrize('optimizer_state', ['separate', 'transfer'])
def test_momentum_is_transferred_at_a_switch_if_configured(optimizer_state):
    torch.manual_seed(0)
    model = DualModel(
        base=classifier('cifar_resnet8'), motivated=classifier('cifar_resnet20'), optimizer_state=optimizer_state
    )
    wrappers = optimizers(model)
    model.train_step(small_batch(), wrappers)
    model.follow(Never(), wrappers)
    model.activate()
    states = [wrappers[name].optimizer.state for name in ('base', 'motivated')]
    weights = [getattr(model, name).backbone.conv1.weight for name in ('base', 'motivated')]
    travelled = 'momentum_buffer' in states[1].get(weights[1], {})
    assert travelled == (optimizer_state == 'transfer')
    if travelled:
        assert torch.equal(states[0][weights[0]]['momentum_buffer'], states[1][weights[1]]['momentum_buffer'])


def test_default_weight_map_is_auto_map():
    model = DualModel(base=vit(16, 1), motivated=vit(24, 2))
    assert repr(model.weight_map) == "AutoMap(placement='leading', channels='leading')"
    spread = DualModel(base=vit(16, 2), motivated=vit(16, 4), weight_map=dict(placement='spread')).weight_map
    assert {p.motivated.split('.')[2] for p in spread.pairs if '.blocks.' in p.base} == {'0', '2'}


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('extension', 'one', r"^extension must be 'zero' or 'default' or None, got 'one'$"),
        ('optimizer_state', 'shared', r"^optimizer_state must be 'separate' or 'transfer', got 'shared'$"),
        ('recalibrate', -1, r'^recalibrate must be at least 0, got -1$'),
        ('distillation', 0.5, r'^distillation must be a dict or None, got 0\.5; write dict\(weight=0\.5\)$'),
    ],
)
def test_invalid_choices_are_an_error(field, value, message):
    with pytest.raises(ConfigError, match=message):
        DualModel(base=vit(16, 1), motivated=vit(16, 2), **{field: value})


def test_synchronized_norms_keep_names_values_activations_and_the_map():
    """In one process they compute the same as before; timm's EfficientNet has norms with an activation."""
    networks = dict(base=classifier('test_efficientnet'), motivated=classifier('test_efficientnet'))
    model, plain = (DualModel(**networks, weight_map=dict(type='DepthMap')) for _ in range(2))
    plain.load_state_dict(model.state_dict())
    model.transfer()  # the map has found the modules
    before, parameters = snapshot(model), [id(parameter) for parameter in model.parameters()]
    model.synchronize_norms()
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    assert norms and all(isinstance(norm, nn.SyncBatchNorm) for norm in norms)
    assert parameters == [id(parameter) for parameter in model.parameters()]
    assert before.keys() == model.state_dict().keys()
    inputs = torch.rand(2, 3, 32, 32)
    for name in ('base', 'motivated'):
        assert torch.equal(getattr(model, name).train()(inputs), getattr(plain, name).train()(inputs))
    after = snapshot(model.base)
    assert any(not torch.equal(tensor, before[f'base.{name}']) for name, tensor in after.items())
    model.weight_map.transfer('base', statistics=True)
    assert all(torch.equal(tensor, model.motivated.state_dict()[name]) for name, tensor in after.items())


def test_norm_with_its_own_forward_is_not_converted():
    class Doubles(nn.BatchNorm2d):
        def forward(self, inputs):
            return 2 * super().forward(inputs)

    model = small_dual_model()
    model.motivated.backbone.bn1 = Doubles(16)
    with pytest.raises(ConfigError, match=r'model\.motivated\.backbone\.bn1 of class Doubles has its own forward'):
        model.synchronize_norms()
