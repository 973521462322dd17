import pytest
import timm
import torch
from mmengine.hooks import Hook

from motivation.engine.export import export_model, load_exported
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.models import MODEL_NAMES, TimmClassifier
from tests.conftest import digits_config, snapshot, train


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


class Seen(Hook):
    """The weights and the metrics of each validation."""

    priority = 'LOWEST'

    def __init__(self):
        self.epochs = []

    def after_val_epoch(self, runner, metrics=None):
        self.epochs.append((dict(metrics), {name: snapshot(getattr(runner.model, name)) for name in MODEL_NAMES}))


def test_best_models_are_those_of_the_first_of_the_highest_accuracies_also_after_resuming(tmp_path):
    options = {'default_hooks.export.save_best': 'accuracy/top1'}
    seen = Seen()
    for epochs in (3, 6):
        config = digits_config(tmp_path / 'run', epochs, **options)
        config.param_scheduler, config.resume, config.allow_changes = [], epochs == 6, True
        runner = DualModelRunner.from_cfg(config)
        runner.register_hook(seen)
        runner.train()
    assert len(seen.epochs) == 6
    for name in MODEL_NAMES:
        accuracies = [metrics[f'{name}/accuracy/top1'] for metrics, _ in seen.epochs]
        weights = seen.epochs[accuracies.index(max(accuracies))][1][name]
        best = load_exported(tmp_path / f'run/best_{name}.pth')
        assert all(torch.equal(tensor, weights[key]) for key, tensor in best.state_dict().items())


def test_metric_that_is_none_comes_with_its_near_match(tmp_path):
    with pytest.raises(ConfigError, match=r"^default_hooks\.export\.save_best is 'accuracy/top2', .* 'accuracy/top1'"):
        train(digits_config(tmp_path, 1, **{'default_hooks.export.save_best': 'accuracy/top2'}))
