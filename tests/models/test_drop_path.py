import pytest
import timm
import torch

from motivation.errors import ConfigError
from motivation.models import DualModel, TimmClassifier
from motivation.models.drop_path import drop_paths, scale_drop_path
from motivation.registry import MODELS
from tests.conftest import classifier, small_batch


def pair(base, motivated, rate=0.2, **kwargs):
    torch.manual_seed(0)
    return DualModel(base=base, motivated=motivated, drop_path_rate=rate, **kwargs)


def rates(model):
    return [path.drop_prob for path in drop_paths(model)]


def test_rate_grows_by_the_same_step_from_block_to_block_in_both_models():
    model = pair(classifier('cifar_resnet8'), classifier('cifar_resnet20'))
    assert rates(model.motivated) == pytest.approx([0.2 * block / 8 for block in range(1, 9)])
    assert rates(model.base) == pytest.approx([0.2 * block / 8 for block in range(1, 3)])
    assert model.base.deployed_config({})['drop_path_rate'] == pytest.approx(0.05)
    assert model.motivated.deployed_config({})['drop_path_rate'] == 0.2
    plain = timm.create_model('cifar_resnet8', num_classes=10, drop_path_rate=0.05)
    assert rates(plain) == pytest.approx(rates(model.base))


def test_blocks_of_networks_of_one_depth_have_the_same_rate():
    kwargs = dict(img_size=32, patch_size=8, depth=3)
    model = pair(
        classifier('test_vit', embed_dim=32, num_heads=2, **kwargs),
        classifier('test_vit', embed_dim=64, num_heads=4, **kwargs),
    )
    assert rates(model.base) == rates(model.motivated) == pytest.approx([0.1, 0.1, 0.2, 0.2])


def test_rates_of_an_efficientnet_are_scaled_by_all_of_its_blocks():
    """timm gives block l of L the rate r l / L."""
    base, motivated = (TimmClassifier(f'efficientnet_{name}', 10, drop_path_rate=0.2) for name in ('b0', 'b1'))
    scale_drop_path(base, motivated, 0.2)
    assert rates(base)[-1] == pytest.approx(0.2 * 15 / 23)
    assert rates(motivated)[-1] == pytest.approx(0.2 * 22 / 23)


def test_without_a_rate_each_model_has_its_own():
    own = pair(classifier('cifar_resnet8', drop_path_rate=0.1), classifier('cifar_resnet20'), rate=None)
    assert rates(own.base) == pytest.approx([0.05, 0.1]) and not rates(own.motivated)
    torch.manual_seed(0)
    plain = DualModel(base=classifier('cifar_resnet8'), motivated=classifier('cifar_resnet20'))
    dropping = pair(classifier('cifar_resnet8'), classifier('cifar_resnet20'), rate=0.9)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, dropping.state_dict()[name]), name
    dropping.train()
    for module in dropping.motivated.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)  # branches begin at zero
    batch = dropping.base.data_preprocessor(small_batch(), True)
    assert not torch.equal(*(dropping.motivated(batch['inputs']) for _ in range(2)))


@pytest.mark.parametrize(
    ('base', 'message'),
    [
        (
            classifier('cifar_resnet8', drop_path_rate=0.1),
            r'^drop_path_rate is 0\.2, and base\.drop_path_rate is 0\.1; give',
        ),
        (
            classifier('test_vit', depth=1, num_heads=2),
            r'^drop_path_rate is 0\.2, and the base model has no blocks with',
        ),
    ],
)
def test_rate_without_effect_or_of_both_is_an_error(base, message):
    with pytest.raises(ConfigError, match=message):
        pair(base, classifier('cifar_resnet20'))


def test_rate_of_no_model_is_an_error():
    config = dict(type='DualModel', base=classifier('cifar_resnet8'), motivated=classifier('cifar_resnet20'))
    with pytest.raises(ConfigError, match='drop_path_rate must be below 1') as caught:
        MODELS.build({**config, 'drop_path_rate': 1.0})
    assert caught
