import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from motivation.compute.macs import Macs, StepMacs, measure_model
from motivation.errors import ConfigError
from motivation.export.exported_model import export_model, load_exported
from motivation.models import DistilledClassifier, TimmClassifier
from tests.conftest import classifier, digits_config, small_batch, snapshot, train


@pytest.fixture
def teacher():
    torch.manual_seed(1)
    model = TimmClassifier('cifar_resnet20', num_classes=10).eval()
    export_model(model, classifier('cifar_resnet20'), Path('teacher.pth'))
    return model


def student(**kwargs):
    torch.manual_seed(2)
    return DistilledClassifier('cifar_resnet8', num_classes=10, teacher='teacher.pth', **kwargs)


def test_loss_equals_its_definition(teacher):
    model = student(weight=0.7, temperature=3.0)
    data = model.data_preprocessor(small_batch(), True)
    loss = model(**data, mode='loss')['loss']
    logits, targets = model(data['inputs']), data['targets']
    p, log_q = F.softmax(teacher(data['inputs']) / 3, dim=1), F.log_softmax(logits / 3, dim=1)
    divergence = (p * (p.log() - log_q)).sum(dim=1).mean()
    assert loss.item() == pytest.approx(
        (0.3 * F.cross_entropy(logits, targets) + 0.7 * 9 * divergence).item(), rel=1e-5
    )


def test_loss_of_several_labels_learns_each_class_by_itself():
    config = classifier('cifar_resnet8', loss=dict(type='MultiLabelLoss'))
    torch.manual_seed(1)
    taught = TimmClassifier('cifar_resnet8', num_classes=10, loss=config['loss']).eval()
    export_model(taught, config, Path('teacher.pth'))
    model = student(weight=0.7, temperature=3.0, loss=config['loss'])
    data = model.data_preprocessor({**small_batch(), 'targets': torch.eye(4, 10)}, True)
    logits, p = model(data['inputs']), torch.sigmoid(taught(data['inputs']) / 3)
    q = torch.sigmoid(logits / 3)
    divergence = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()
    expected = 0.3 * F.binary_cross_entropy_with_logits(logits, data['targets']) + 0.7 * 9 * divergence
    assert model(**data, mode='loss')['loss'].item() == pytest.approx(expected.item(), rel=1e-4)
    with pytest.raises(
        ConfigError, match=r"^teacher 'teacher.pth' was trained with MultiLabelLoss and the model is with Cr"
    ):
        student()


def test_teacher_is_frozen_and_not_part_of_the_model(teacher):
    model = student()
    assert model.state_dict().keys() == TimmClassifier('cifar_resnet8', num_classes=10).state_dict().keys()
    before = snapshot(model._teacher[0])
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model.train()(**model.data_preprocessor(small_batch(), True), mode='loss')['loss'].backward()
    optimizer.step()
    assert not model._teacher[0].training
    for name, tensor in snapshot(model._teacher[0]).items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in model._teacher[0].parameters())
    assert model.double()._teacher[0].backbone.fc.weight.dtype == torch.float64  # it moves along


def test_teachers_forward_pass_is_counted(teacher):
    sample = {'inputs': torch.zeros(1, 3, 32, 32, dtype=torch.uint8), 'targets': torch.tensor([0])}
    alone = measure_model(TimmClassifier('cifar_resnet8', num_classes=10), sample)
    taught = measure_model(student(), sample)
    teachers = measure_model(teacher, sample).network.per_image
    assert taught == alone._replace(step=StepMacs(Macs(alone.network.per_image + teachers), alone.step.backward))
    assert taught.step.flops(1, 10) == alone.step.flops(1, 10) + 2 * 10 * teachers


def test_exported_model_has_no_teacher(tmp_path):
    train(digits_config(tmp_path / 'teacher', epochs=1, **{'motivation.policy': dict(_delete_=True, type='Always')}))
    options = {
        'motivation.policy': dict(_delete_=True, type='Never'),
        'model.base.type': 'DistilledClassifier',
        'model.base.teacher': str(tmp_path / 'teacher/motivated.pth'),
        'val_cfg.models': ['base'],
    }
    config = digits_config(tmp_path / 'run', epochs=1)
    config.merge_from_dict(options)
    runner = train(config)
    (tmp_path / 'teacher/motivated.pth').unlink()
    exported = load_exported(tmp_path / 'run/base.pth')
    assert type(exported) is TimmClassifier
    inputs = torch.randn(2, 1, 8, 8)
    assert torch.equal(exported(inputs), runner.model.base.eval()(inputs))
    report = json.loads((tmp_path / 'run/report.json').read_text())
    assert report['motivated']['metrics'] == {} and 'accuracy/top1' in report['base']['metrics']
    assert '| not evaluated |' in (tmp_path / 'run/report.md').read_text()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(weight=0), r'^weight must be above 0, got 0$'),
        (dict(temperature=-1), r'^temperature must be above 0, got -1$'),
        (dict(mean=[0, 0, 0]), "teacher 'teacher.pth' normalises images with another mean"),
    ],
)
def test_invalid_arguments_are_an_error(teacher, options, message):
    with pytest.raises(ConfigError, match=message):
        student(**options)


def test_teacher_that_is_missing_or_has_other_classes_is_an_error(teacher):
    with pytest.raises(ConfigError, match=r"'nowhere\.pth' does not exist"):
        DistilledClassifier('cifar_resnet8', num_classes=10, teacher='nowhere.pth')
    with pytest.raises(ConfigError, match='has 10 classes and the model 7'):
        DistilledClassifier('cifar_resnet8', num_classes=7, teacher='teacher.pth')
