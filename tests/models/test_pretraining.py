"""What a run reports about the weights of a pretrained motivated model."""

import json
from pathlib import Path

import timm
import torch
from mmengine.model import BaseModel

from motivation.engine.runner import DualModelRunner
from motivation.models import DualModel
from motivation.models.pretraining import is_pretrained
from tests.conftest import classifier, digits_config, small_dual_model, snapshot, train


def save_weights(name, path):
    torch.manual_seed(7)
    model = timm.create_model(name, num_classes=10, in_chans=1)
    for value in model.state_dict().values():  # as trained ones: no tensor is what networks begin with
        if value.is_floating_point():
            value.add_(torch.rand_like(value))
    torch.save(model.state_dict(), path)
    return path


def dual(base=None, motivated=None, **fields):
    torch.manual_seed(0)
    config = {}
    for name, path, size in (('base', base, 8), ('motivated', motivated, 20)):
        config[name] = classifier(f'cifar_resnet{size}', in_chans=1, **(dict(checkpoint_path=path) if path else {}))
    return DualModel(**config, **fields)


def test_counts_are_those_of_the_first_activation():
    path = save_weights('cifar_resnet20', 'motivated.pth')
    model = dual(motivated=path, extension='default')
    given = {f'backbone.{name}': value for name, value in torch.load(path).items()}
    before = snapshot(model.motivated)
    assert all(torch.equal(value, before[name]) for name, value in given.items())  # not there yet
    model.activate()
    lost = [name for name, value in snapshot(model.motivated).items() if not torch.equal(value, given[name])]
    parameters = {pair.motivated for pair in model.weight_map.pairs if not pair.is_statistic}
    assert set(lost) == parameters
    assert model.pretraining == (False, len(lost), 0, len(given)) and 0 < len(lost) < len(given)
    assert str(model.pretraining) == (
        f"of {len(given)} tensors of the motivated model {len(lost)} are replaced by the base model's before its first step"
    )


def test_zeroed_tensors_are_counted_separately():
    path = save_weights('cifar_resnet20', 'motivated.pth')
    model = dual(motivated=path)
    given = {f'backbone.{name}': value for name, value in torch.load(path).items()}
    begun = snapshot(model.motivated)
    changed = {name for name, value in begun.items() if not torch.equal(value, given[name])}
    zeroed = changed - {pair.motivated for pair in model.weight_map.pairs}
    assert zeroed and all(not begun[name].any() for name in zeroed)
    assert model.pretraining == (False, len(changed - zeroed), len(zeroed), len(given))
    assert str(model.pretraining).endswith(f"first step, and extension='zero' zeroes {len(zeroed)}")


def test_pretrained_base_alone_is_not_reported():
    assert dual(base=save_weights('cifar_resnet8', 'base.pth')).pretraining is None
    assert small_dual_model().pretraining is None


class Own(BaseModel):
    def forward(self, inputs):
        return inputs


def test_init_cfg_of_a_custom_model_is_pretraining():
    assert is_pretrained(Own(init_cfg=dict(type='Pretrained', checkpoint='x.pth')))
    assert is_pretrained(torch.nn.Sequential(Own(init_cfg=[dict(type='Pretrained', checkpoint='x.pth')])))
    assert not is_pretrained(Own(init_cfg=dict(type='Kaiming', layer='Conv2d')))


def test_header_log_and_report_describe_pretraining(capsys):
    options = {
        'model.base.checkpoint_path': save_weights('cifar_resnet8', 'base.pth'),
        'model.motivated.checkpoint_path': save_weights('cifar_resnet20', 'motivated.pth'),
    }
    runner = train(digits_config('run', 1, **options))
    said = str(runner.pretraining)
    assert "are replaced by the base model's, pretrained too, before its first step" in said
    assert f'  pretrained {said}' in capsys.readouterr().out
    assert f'pretrained weights: {said}' in next(Path('run').glob('*/*.log')).read_text()
    assert json.loads(Path('run/report.json').read_text())['pretraining']['said'] == said
    assert f'- pretrained weights: {said}' in Path('run/report.md').read_text()
    config = digits_config('other', 1, **options)
    config.load_from = 'run/epoch_1.pth'  # whose weights they are then
    assert DualModelRunner.from_cfg(config).pretraining is None
