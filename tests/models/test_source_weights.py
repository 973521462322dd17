"""Classifiers that begin with weights trained here."""

from pathlib import Path

import pytest
import timm
import torch

from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.export.deployable import Deployable
from motivation.export.exported_model import export_model, load_exported
from motivation.export.timm_folder import TimmFolder
from motivation.models import TimmClassifier
from tests.conftest import snapshot
from tests.small import small_config

ARGUMENTS = dict(num_classes=10, in_chans=1, mean=[0.3], std=[0.4])
CLASSES = [*'0123456789']


def write(path, model_name, classes=CLASSES, **kwargs):
    """Export an untrained classifier with weights of its own; return them."""
    torch.manual_seed(5)
    arguments = dict(ARGUMENTS, model_name=model_name) | kwargs
    model = TimmClassifier(**arguments)
    with torch.no_grad():
        for value in model.backbone.state_dict().values():
            value.copy_(value + torch.rand(value.shape) if value.is_floating_point() else value)
    metainfo = dict(classes=classes, input_size=(1, 8, 8), transforms=[], image_mode='L', decoder='pillow')
    Path(path).parent.mkdir(exist_ok=True)
    export_model(model, dict(type='TimmClassifier', **arguments), Path(path), metainfo=metainfo)
    return snapshot(model.backbone)


@pytest.fixture
def run():
    return {name: write(f'run/{name}.pth', f'cifar_resnet{depth}') for name, depth in (('base', 8), ('motivated', 20))}


def build(weights=None, model_name='cifar_resnet8', **kwargs):
    torch.manual_seed(0)
    return TimmClassifier(**dict(ARGUMENTS, model_name=model_name, weights=weights) | kwargs)


def equal_names(model, weights):
    return {name for name, value in model.backbone.state_dict().items() if torch.equal(value, weights[name])}


@pytest.mark.parametrize(
    ('model_name', 'weights', 'file'),
    [
        ('cifar_resnet8', 'run/base.pth', 'base'),
        ('cifar_resnet8', 'run', 'base'),
        ('cifar_resnet20', 'run', 'motivated'),
    ],
)
def test_weights_are_those_of_the_file_or_of_the_model_of_a_run_that_fits(run, model_name, weights, file):
    model = build(weights, model_name)
    assert equal_names(model, run[file]) == run[file].keys()
    assert model.pretrained and model.source == f"the weights of 'run/{file}.pth'" and model.source_classes == CLASSES


def test_folder_in_the_layout_of_timm_gives_the_same_weights_here_and_by_local_dir(run):
    Path('folder').mkdir()
    TimmFolder().export(Deployable.load(Path('run/base.pth')), torch.zeros(1), Path('folder') / TimmFolder.file)
    assert equal_names(build('folder'), run['base']) == run['base'].keys()
    by_timm = build(model_name='local-dir:folder', pretrained=True)
    assert equal_names(by_timm, run['base']) == run['base'].keys() and by_timm.pretrained
    other_head = build(model_name='local-dir:folder', pretrained=True, num_classes=3)
    assert other_head.source == "the weights of 'folder', of 10 classes, and a new head for 3"
    assert (by_timm.source, by_timm.source_classes) == ("the weights of 'folder'", CLASSES)
    new_head = build(model_name='local-dir:folder', pretrained=True, new_head=True)
    fresh = build(model_name='local-dir:folder', pretrained=False)
    assert not torch.equal(new_head.backbone.fc.weight, run['base']['fc.weight'])
    assert equal_names(new_head, run['base']) == {name for name in run['base'] if not name.startswith('fc.')}
    assert new_head.source_classes is None and new_head.backbone.fc.weight.std() > 0 and fresh.source is None
    assert timm.create_model('local-dir:folder', pretrained=True).fc.out_features == 10


@pytest.mark.parametrize(
    ('fields', 'said'),
    [(dict(num_classes=3), ' classes, and a new head for 3'), (dict(new_head=True), ' classes, and a new head for 10')],
)
def test_head_is_new_for_another_number_of_classes_or_on_request(run, fields, said):
    model, fresh = build('run', **fields), build(num_classes=fields.get('num_classes', 10))
    others = {name for name in run['base'] if not name.startswith('fc.')}
    for name, value in model.backbone.state_dict().items():
        expected = run['base'][name] if name in others else fresh.backbone.state_dict()[name]
        assert torch.equal(value, expected), name
    assert model.source == f"the weights of 'run/base.pth', trained on 10{said}" and model.source_classes is None


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        (dict(model_name='cifar_resnet32'), r"^weights is 'run', which does not fit cifar_resnet32: of 'run/base\.pth' it "
         r"lacks 'layer1\.1\.conv1\.weight'; of 'run/motivated\.pth' it lacks 'layer1\.3\..*; give weights of the same net"),
        (dict(weights='run/base.pth', width=2), r"'conv1\.weight' is \(16, 1, 3, 3\) in the checkpoint and \(32, 1, 3, 3\)"),
        (dict(weights='gone.pth'), r"^weights cannot be read: exported model 'gone\.pth' does not exist; give the base\.pth"),
        (dict(weights='.'), r"^weights is '\.', a folder without base\.pth, motivated\.pth or config\.json; give a fin"),
        (dict(mean=[0.1]), r"^weights 'run/base\.pth' were trained on images normalised with mean \[0\.3\], and here it is "
         r'\[0\.1\]; give mean=\[0\.3\]$'),
        (dict(checkpoint_path='x.pth'), '^weights and checkpoint_path are both given; leave one out$'),
        (dict(weights=None, new_head=True), '^new_head is True, and there are no weights whose head it replaces'),
        (dict(weights=None, model_name='local-dir:x'), r"^pretrained must say whether the weights of 'local-dir:x' are lo"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_an_error_that_names_the_difference(run, fields, message):
    with pytest.raises(ConfigError, match=message):
        build(**{'weights': 'run', **fields})


def test_two_models_of_one_shape_need_a_file(run):
    write('run/motivated.pth', 'cifar_resnet8')
    with pytest.raises(ConfigError, match=r"^weights is 'run', of which both models fit; name one of the files$"):
        build('run')


def test_exported_model_is_rebuilt_without_its_source(run):
    model = build('run', num_classes=3)
    config = dict(type='TimmClassifier', model_name='cifar_resnet8', weights='run', **ARGUMENTS) | dict(num_classes=3)
    export_model(model, config, Path('new.pth'))
    for file in Path('run').iterdir():
        file.unlink()
    assert equal_names(load_exported('new.pth'), snapshot(model.backbone)) == run['base'].keys()


@pytest.mark.parametrize('by_timm', [False, True])
def test_kept_head_of_other_classes_is_refused_before_training(run, by_timm):
    write('run/base.pth', 'cifar_resnet8', CLASSES[::-1], mean=[0.3054], std=[0.3760])
    options = {'model.base.weights': 'run'}
    if by_timm:
        Path('folder').mkdir()
        TimmFolder().export(Deployable.load(Path('run/base.pth')), torch.zeros(1), Path('folder') / TimmFolder.file)
        options = {'model.base.model_name': 'local-dir:folder', 'model.base.pretrained': True}
    message = (
        r"^class 0 is '9' in the pretrained weights of model\.base and '0' in train_dataloader\.dataset; write "
        r'model\.base\.new_head=T'
    )
    with pytest.raises(ConfigError, match=message):
        DualModelRunner.from_cfg(small_config('new', **options)).train()
