"""From which pretrained model both begin, and what a run says about it."""

import json
import shutil
from pathlib import Path

import pytest
import timm
import torch
from mmengine.model import BaseModel

from motivation.datasets import DigitsDataset
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.models import DualModel
from motivation.models.pretraining import is_pretrained, unread_sources
from motivation.utils.checkpoint import read_checkpoint
from motivation.weight_maps.index import mesh
from tests.conftest import Begun, classifier, small_dual_model, snapshot, tiny_config


def save_weights(name, path, **kwargs):
    torch.manual_seed(7)
    model = timm.create_model(name, num_classes=10, in_chans=1, **kwargs)
    for value in model.state_dict().values():  # as trained ones: no tensor is what networks begin with
        if value.is_floating_point():
            value.add_(torch.rand_like(value))
    torch.save(model.state_dict(), path)
    return path


def dual(base=None, motivated=None, motivated_kwargs=None, **fields):
    torch.manual_seed(0)
    config = {}
    for name, path, size in (('base', base, 8), ('motivated', motivated, 20)):
        own = (motivated_kwargs or {}) if name == 'motivated' else {}
        source = dict(checkpoint_path=path) if path else {}
        config[name] = classifier(f'cifar_resnet{size}', in_chans=1, **source, **own)
    return DualModel(**config, **fields)


def given(path):
    return {f'backbone.{name}': value for name, value in torch.load(path).items()}


@pytest.fixture
def both():
    return dict(
        base=save_weights('cifar_resnet8', 'base.pth'), motivated=save_weights('cifar_resnet20', 'motivated.pth')
    )


def test_counts_are_those_of_the_first_activation(both):
    model, of_motivated = dual(**both, start='base', extension='default'), given('motivated.pth')
    before = snapshot(model.motivated)
    assert all(torch.equal(value, before[name]) for name, value in of_motivated.items())  # not there yet
    model.activate()
    lost = [name for name, value in snapshot(model.motivated).items() if not torch.equal(value, of_motivated[name])]
    assert set(lost) == {pair.motivated for pair in model.weight_map.pairs if not pair.is_statistic}
    assert 0 < len(lost) < len(of_motivated)
    assert str(model.pretraining) == (
        "the base model has the weights of 'base.pth', and the motivated model takes them over where it contains it; "
        f'of {len(of_motivated)} pretrained tensors of the motivated model {len(lost)} are replaced'
    )


def test_zeroed_tensors_are_counted_separately(both):
    model, of_motivated = dual(**both, start='base'), given('motivated.pth')
    begun = snapshot(model.motivated)
    changed = {name for name, value in begun.items() if not torch.equal(value, of_motivated[name])}
    zeroed = changed - {pair.motivated for pair in model.weight_map.pairs}
    assert zeroed and all(not begun[name].any() for name in zeroed)
    counts = f"{len(changed - zeroed)} are replaced, and extension='zero' zeroes {len(zeroed)}"
    assert 'begins as its function; of' in str(model.pretraining) and str(model.pretraining).endswith(counts)


def test_pretrained_base_begins_both_without_a_word_about_start(both):
    model = dual(base=both['base'])
    assert model.start == 'base' and model.extension == 'zero'
    assert str(model.pretraining) == (
        "the base model has the weights of 'base.pth', and the motivated model begins as its function"
    )
    inputs = torch.rand(2, 1, 16, 16)
    model.eval()
    torch.testing.assert_close(model.motivated(inputs), model.base(inputs), rtol=1e-4, atol=1e-4)
    assert (small_dual_model().start, small_dual_model().pretraining) == (None, None)


@pytest.mark.parametrize('start', [None, 'motivated'])
@pytest.mark.parametrize('channels', ['leading', 'spread'])
def test_base_is_cut_out_of_a_pretrained_motivated_model_which_stays_as_it_is(start, channels):
    path = save_weights('cifar_resnet20', 'motivated.pth', width=2)
    model = dual(motivated=path, motivated_kwargs=dict(width=2), start=start, weight_map=dict(channels=channels))
    assert (model.start, model.extension, model.extension_caveats) == ('motivated', 'default', [])
    source, base = given(path), snapshot(model.base)
    assert all(torch.equal(value, source[name]) for name, value in snapshot(model.motivated).items())
    assert {pair.base for pair in model.weight_map.pairs} == {*base} - {'data_preprocessor.mean'}
    for pair in model.weight_map.pairs:  # running statistics and the head as well
        image = source[pair.motivated]
        assert torch.equal(base[pair.base], image[mesh(pair.index, image.shape)]), pair.base
    step = 2 if channels == 'spread' else 1
    assert torch.equal(base['backbone.fc.weight'], source['backbone.fc.weight'][:, : 64 * step : step])
    assert str(model.pretraining) == (
        "the motivated model has the weights of 'motivated.pth', and the base model is cut out of it by the weight map"
    )


def test_first_activation_keeps_the_statistics_of_a_pretrained_motivated_model():
    model = dual(motivated=save_weights('cifar_resnet20', 'motivated.pth'))
    before = snapshot(model.motivated)
    with torch.no_grad():
        for value in model.base.state_dict().values():
            value.copy_(value + 1)
    model.activate()
    shared = {pair.motivated for pair in model.weight_map.pairs if not pair.is_statistic}
    assert shared == {name for name, value in snapshot(model.motivated).items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({}, r"^start must say which of the two pretrained models both begin from, got None; write 'base' \(.*\) or 'mot"),
        (dict(start='small'), r"^start must be 'base' or 'motivated' or None, got 'small'$"),
        (dict(start='base', base=None), r"^start is 'base', and model\.base has no pretrained weights; give it weights="),
        (dict(start='motivated', motivated=None), r"^start is 'motivated', and model\.motivated has no pretrained"),
        (dict(start='motivated', extension='zero'), r"^extension must be 'default' with start='motivated', got 'zero', which"),
    ],
)  # fmt: skip
def test_unclear_beginnings_are_an_error(both, fields, message):
    with pytest.raises(ConfigError, match=message):
        dual(**{**both, **fields})


def test_sources_are_not_read_where_a_checkpoint_replaces_them():
    with unread_sources():
        model = dual(base='gone.pth', motivated='gone.pth', start='motivated')
    assert (model.start, model.extension, model.pretraining) == ('motivated', 'default', None)


class Own(BaseModel):
    def forward(self, inputs):
        return inputs


def test_init_cfg_of_a_custom_model_is_pretraining():
    assert is_pretrained(Own(init_cfg=dict(type='Pretrained', checkpoint='x.pth')))
    assert is_pretrained(torch.nn.Sequential(Own(init_cfg=[dict(type='Pretrained', checkpoint='x.pth')])))
    assert not is_pretrained(Own(init_cfg=dict(type='Kaiming', layer='Conv2d')))


def test_statistics_of_a_cut_out_base_are_estimated_and_a_run_resumes_without_its_source(capsys):
    path = save_weights('cifar_resnet20', 'motivated.pth')
    options = {'model.motivated.checkpoint_path': path, 'train_dataloader.dataset.transforms': []}

    def run(work_dir, **fields):
        config = tiny_config(work_dir, **options)
        config.merge_from_dict(fields)
        runner = DualModelRunner.from_cfg(config)
        runner.register_hook(begun := Begun())
        runner.train()
        return runner, begun.weights

    _, begun = run('run')
    said = (
        "the motivated model has the weights of 'motivated.pth', and the base model is cut out of it by the weight map; "
        'its statistics are re-estimated on 1,437 training samples'
    )
    assert f'  pretrained {said}' in capsys.readouterr().out
    assert f'pretrained weights: {said}' in next(Path('run').glob('*/*.log')).read_text()
    assert all(torch.equal(value, begun[f'motivated.{name}']) for name, value in given(path).items())
    images = DigitsDataset('train').source.images.float() / 255  # the first norm's, by definition
    features = torch.conv2d((images - 0.3054) / 0.3760, begun['base.backbone.conv1.weight'], padding=1)
    assert torch.equal(begun['base.backbone.conv1.weight'], given(path)['backbone.conv1.weight'])
    for name, value in (('mean', features.mean((0, 2, 3))), ('var', features.var((0, 2, 3)))):
        torch.testing.assert_close(begun[f'base.backbone.bn1.running_{name}'], value, rtol=1e-3, atol=1e-3)

    shutil.copytree('run', 'resumed')
    for file in ('resumed/epoch_2.pth', 'resumed/base.pth', 'resumed/report.json', 'motivated.pth'):
        Path(file).unlink()
    resumed, _ = run('resumed', resume=True)
    assert str(resumed.model.pretraining) == said
    assert f'- pretrained weights: {said}' in Path('resumed/report.md').read_text()
    assert json.loads(Path('resumed/report.json').read_text())['pretraining']['said'] == said
    expected = read_checkpoint(Path('run/base.pth'))['state_dict']
    for name, value in read_checkpoint(Path('resumed/base.pth'))['state_dict'].items():
        assert torch.equal(value, expected[name]), name
