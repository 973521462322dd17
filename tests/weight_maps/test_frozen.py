import pytest
from torch import nn

from motivation.errors import ArgumentError
from motivation.models import DualModel
from motivation.weight_maps.frozen import frozen_norms, frozen_tensors
from tests.conftest import classifier, small_dual_model


@pytest.fixture(scope='module')
def deeper():
    return small_dual_model()


def test_names_of_modules_and_patterns_freeze_what_is_shared_in_both(deeper):
    frozen = frozen_tensors(deeper.weight_map, ['backbone.layer1.0', '*.bn1.bias'], ['base'])
    shared = {pair.base: pair.motivated for pair in deeper.weight_map.pairs}
    expected = {
        name for name in deeper.weight_map.tensors('base')
        if name.startswith('backbone.layer1.0.') or name.endswith('.bn1.bias')
    }  # fmt: skip
    assert frozen['base'] == expected and 'backbone.layer1.0.bn2.running_var' in expected
    assert frozen['motivated'] == {shared[name] for name in expected}


def test_the_extension_is_frozen_alone(deeper):
    frozen = frozen_tensors(deeper.weight_map, ['backbone.layer1.1', 'backbone.layer1.2'])
    assert frozen['base'] == set()
    assert all(name.startswith(('backbone.layer1.1.', 'backbone.layer1.2.')) for name in frozen['motivated'])


def test_a_larger_tensor_is_frozen_whole_and_through_it_the_base_tensor():
    model = DualModel(base=classifier('cifar_resnet8'), motivated=classifier('cifar_resnet8', width=2))
    for models in (['base'], ['motivated']):
        frozen = frozen_tensors(model.weight_map, ['backbone.conv1'], models)
        assert frozen == {'base': {'backbone.conv1.weight'}, 'motivated': {'backbone.conv1.weight'}}


def test_statistics_stay_where_the_norm_is_frozen(deeper):
    model, bn1 = deeper.base, deeper.base.backbone.bn1
    assert frozen_norms(model, {'backbone.bn1.weight', 'backbone.bn1.bias'}) == [bn1]
    assert frozen_norms(model, {'backbone.bn1.running_mean'}) == [bn1]
    assert frozen_norms(model, {'backbone.bn1.weight', 'backbone.conv1.weight'}) == []
    assert frozen_norms(nn.LayerNorm(3), {'.weight', '.bias'}) == []


@pytest.mark.parametrize(
    ('patterns', 'message'),
    [
        (['backbone.layr1'], r"^parameters has 'backbone\.layr1', which matches no tensor or module; did you mean"),
        (['backbone.layer1', 'conv1'], r"^parameters has 'conv1', which"),
        (['backbone.*'], r'^parameters leaves nothing to train in the base model; freeze less'),
    ],
)
def test_mistakes_are_refused(deeper, patterns, message):
    with pytest.raises(ArgumentError, match=message):
        frozen_tensors(deeper.weight_map, patterns)
