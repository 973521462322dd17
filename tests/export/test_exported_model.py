import json
import shutil
from pathlib import Path

import pytest
import timm
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from PIL import Image

from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.export.exported_model import export_model, load_exported
from motivation.models import TimmClassifier
from motivation.registry import MODELS
from motivation.structures import MODEL_NAMES
from motivation.utils.checkpoint import write_checkpoint
from tests.conftest import snapshot, train
from tests.small import small_config


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


def test_normalisation_is_written_without_the_noise_of_its_type_and_is_the_same(tmp_path):
    mean, std = [0.3054, 1 / 3, 0.1], [0.376, 2.0, 1e-7]
    arguments = dict(model_name='cifar_resnet8', num_classes=4, mean=mean, std=std)
    model = TimmClassifier(**arguments)
    export_model(model, dict(type='TimmClassifier', **arguments), tmp_path / 'base.pth')
    metainfo = load_exported(tmp_path / 'base.pth').metainfo
    assert (metainfo['mean'], metainfo['std']) == ([0.3054, 0.33333334, 0.1], std)
    assert torch.equal(torch.tensor(metainfo['mean']), model.data_preprocessor.mean.flatten())


def test_missing_file_is_named():
    with pytest.raises(ConfigError, match=r"^exported model 'nowhere\.pth' does not exist; give the base\.pth"):
        load_exported('nowhere.pth')


def test_weights_of_another_dtype_are_refused(exported):
    _, path = exported
    content = torch.load(path, weights_only=True)
    name = next(iter(content['state_dict']))
    content['state_dict'][name] = content['state_dict'][name].bool()
    write_checkpoint(content, path)
    with pytest.raises(
        ConfigError, match=rf"base\.pth' is damaged: '{name}' is torch\.bool instead of torch\.float32; "
    ):
        load_exported(path)


class Seen(Hook):
    """Records weights and metrics of each validation."""

    priority = 'LOWEST'

    def __init__(self):
        self.epochs = []

    def after_val_epoch(self, runner, metrics=None):
        self.epochs.append((dict(metrics), {name: snapshot(getattr(runner.model, name)) for name in MODEL_NAMES}))


def test_best_models_are_of_the_first_highest_accuracy_also_after_a_resume(tmp_path):
    options = {'default_hooks.export.save_best': 'accuracy/top1'}
    seen = Seen()
    for epochs in (2, 4):
        config = small_config(tmp_path / 'run', epochs, **options)
        config.param_scheduler, config.resume, config.allow_changes = [], epochs == 4, True
        runner = DualModelRunner.from_cfg(config)
        runner.register_hook(seen)
        runner.train()
    assert len(seen.epochs) == 4
    for name in MODEL_NAMES:
        accuracies = [metrics[f'{name}/accuracy/top1'] for metrics, _ in seen.epochs]
        weights = seen.epochs[accuracies.index(max(accuracies))][1][name]
        best = load_exported(tmp_path / f'run/best_{name}.pth')
        assert all(torch.equal(tensor, weights[key]) for key, tensor in best.state_dict().items())


def test_unknown_metric_comes_with_its_near_match(tmp_path):
    with pytest.raises(ConfigError, match=r"^default_hooks\.export\.save_best is 'accuracy/top2', .* 'accuracy/top1'"):
        train(small_config(tmp_path, **{'default_hooks.export.save_best': 'accuracy/top2'}))


IMAGES = torch.linspace(0, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32)


def other_weights(name='test_resnet', **arguments):
    torch.manual_seed(3)
    return timm.create_model(name, num_classes=4, **arguments)


def saved_weights():
    torch.save(other_weights().state_dict(), 'weights.pth')
    return dict(checkpoint_path='weights.pth')


def named_in_the_pretrained_cfg():
    torch.save(other_weights().state_dict(), 'weights.pth')
    own = dict(file='weights.pth', num_classes=4, mean=[0.2, 0.3, 0.4], std=[0.5, 0.6, 0.7])
    return dict(pretrained=True, pretrained_cfg_overlay=own)


def saved_folder():
    model = other_weights('test_vit', img_size=32, patch_size=8, depth=2)
    arguments = dict(img_size=32, patch_size=8, depth=2)
    timm.models.save_for_hf(model, 'folder', model_args=arguments, safe_serialization=False)
    settings = json.loads(Path('folder/config.json').read_text())
    settings['pretrained_cfg'].update(mean=[0.2, 0.3, 0.4], std=[0.5, 0.6, 0.7])
    Path('folder/config.json').write_text(json.dumps(settings))
    return dict(model_name='local-dir:folder', pretrained=True, cache_dir='cache')


@pytest.mark.parametrize('source', [saved_weights, named_in_the_pretrained_cfg, saved_folder])
def test_exported_file_needs_nothing_that_the_model_was_built_from(source):
    arguments = {'model_name': 'test_resnet', 'num_classes': 4, **source()}
    model = TimmClassifier(**arguments).eval()
    assert model.pretrained
    with torch.no_grad():
        next(iter(model.parameters())).mul_(1.5)  # trained on
    export_model(model, dict(type='TimmClassifier', **arguments), Path('base.pth'))
    for path in ('weights.pth', 'folder'):
        shutil.rmtree(path, ignore_errors=True)
        Path(path).unlink(missing_ok=True)
    loaded = load_exported('base.pth')
    assert loaded.input_size == model.input_size and not loaded.pretrained
    batch = {'inputs': IMAGES}
    assert torch.equal(loaded(**loaded.data_preprocessor(batch)), model(**model.data_preprocessor(batch)))
    if source is not saved_weights:
        assert loaded.metainfo['mean'] == pytest.approx([0.2, 0.3, 0.4])
    said = str(torch.load('base.pth', weights_only=True)['config'])
    assert not any(word in said for word in ('weights.pth', 'folder', 'cache'))


@MODELS.register_module(force=True)
class WithHead(BaseModel):
    """A model with weights outside its backbone, and an ``init_cfg``."""

    def __init__(self, init_cfg=None):
        super().__init__(data_preprocessor=dict(type='ImagePreprocessor', mean=[0.5], std=[0.5]), init_cfg=init_cfg)
        self.backbone = torch.nn.Linear(2, 3)
        self.head = torch.nn.Linear(3, 4)

    def forward(self, inputs):
        return self.head(self.backbone(inputs))


def test_user_defined_model_is_exported_completely():
    model = WithHead().eval()
    pretraining = dict(type='Pretrained', checkpoint='gone.pth')
    export_model(model, dict(type='WithHead', init_cfg=pretraining), Path('base.pth'), metainfo={'classes': ['a', 'b']})
    loaded = load_exported('base.pth')
    loaded.init_weights()
    inputs = torch.randn(5, 2)
    assert torch.equal(loaded(inputs), model(inputs))
    assert loaded.metainfo == {'classes': ['a', 'b'], 'mean': [0.5], 'std': [0.5]}


def write_images(folder, names=('cat', 'dog'), images=6, size=12):
    generator = torch.Generator().manual_seed(0)
    for split in ('train', 'val'):
        for name in names:
            (Path(folder) / split / name).mkdir(parents=True)
            for index in range(images):
                pixels = torch.randint(0, 256, (size, size, 3), dtype=torch.uint8, generator=generator)
                Image.fromarray(pixels.numpy()).save(Path(folder) / split / name / f'{index}.png')


def folder_config(work_dir, root='images', epochs=1, **options):
    """Two tiny models on two classes of PNG files, which validation crops from 12 to 8 pixels."""
    config = small_config(work_dir, epochs, **options)
    for stage, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        config[f'{stage}_dataloader'].update(batch_size=4)
        config[f'{stage}_dataloader'].dataset = dict(
            type='TimmDataset', root=root, split=split, transforms=[dict(type='CenterCrop', size=(8, 8))]
        )
    config.train_dataloader.pop('num_batch_per_epoch')
    config.val_evaluator = config.test_evaluator = dict(type='Accuracy')
    for name in MODEL_NAMES:
        config.model[name].update(num_classes=2, in_chans=3, mean=[0.5] * 3, std=[0.3] * 3)
    return config


@pytest.mark.parametrize('validates', [True, False])
def test_exported_models_describe_their_validation_data(validates):
    write_images('images')
    config = folder_config('run')
    if not validates:
        config.val_dataloader = config.val_cfg = config.val_evaluator = None
    train(config)
    for name in MODEL_NAMES:
        assert load_exported(f'run/{name}.pth').metainfo == {
            'classes': ['cat', 'dog'],
            'input_size': [3, 8, 8],
            'transforms': [{'type': 'CenterCrop', 'size': [8, 8]}],
            'image_mode': 'RGB',
            'decoder': 'opencv',
            'outputs': 'softmax',
            'mean': pytest.approx([0.5] * 3),
            'std': pytest.approx([0.3] * 3),
        }
    assert torch.serialization.get_unsafe_globals_in_checkpoint('run/base.pth') == []


def test_model_that_is_not_registered_here_raises_with_a_way_out(tmp_path):
    write_checkpoint({'config': {'type': 'Mine'}, 'state_dict': {}}, tmp_path / 'base.pth')
    with pytest.raises(ConfigError, match=r"is of the model 'Mine', which is not registered; import the module"):
        load_exported(tmp_path / 'base.pth')
