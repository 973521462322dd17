import pytest
import timm
import torch

from motivation.engine.export import export_model, load_exported
from motivation.errors import ConfigError
from motivation.models import TimmClassifier


@pytest.fixture
def exported(tmp_path):
    torch.manual_seed(0)
    arguments = dict(model_name='cifar_resnet8', num_classes=4, in_chans=1, mean=[0.3], std=[0.4])
    model = TimmClassifier(**arguments).eval()
    export_model(model, dict(type='TimmClassifier', **arguments), tmp_path / 'base.pth')
    return model, tmp_path / 'base.pth'


def test_exported_model_predicts_as_the_original(exported):
    model, path = exported
    batch = {'inputs': torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8), 'targets': torch.zeros(2)}
    expected = model(**model.data_preprocessor(batch))
    loaded = load_exported(path)
    assert torch.equal(loaded(**loaded.data_preprocessor(batch)), expected)
    assert not loaded.training


def test_timm_loads_it_without_this_framework(exported):
    model, path = exported
    loaded = timm.create_model('cifar_resnet8', num_classes=4, in_chans=1, checkpoint_path=str(path)).eval()
    image = torch.randn(1, 1, 8, 8)
    assert torch.equal(loaded(image), model.backbone(image))


def test_file_is_plain_data_with_the_normalisation(exported):
    _, path = exported
    assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == []
    content = torch.load(path, weights_only=True)
    assert content['mean'] == pytest.approx([0.3]) and content['std'] == pytest.approx([0.4])


def test_missing_file_is_named():
    with pytest.raises(ConfigError, match=r"checkpoint 'nowhere\.pth' does not exist"):
        load_exported('nowhere.pth')
