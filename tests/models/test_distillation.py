import copy

import pytest
import torch
from torch.nn import functional

from motivation.errors import ConfigError
from motivation.models import DualModel
from motivation.models.distillation import soft_target_divergence
from tests.conftest import classifier, small_batch, snapshot
from tests.models.test_dual_model import optimizers


def distilling(loss=None, **distillation):
    torch.manual_seed(0)
    return DualModel(
        base=classifier('cifar_resnet8', loss=loss),
        motivated=classifier('cifar_resnet20', loss=loss),
        distillation=distillation,
    )


def bernoulli_divergence(logits, target):
    """Return the mean KL divergence, over images and classes, of the answers to each class by itself."""
    p, q = target.sigmoid(), logits.sigmoid()
    return (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()


def softmax_divergence(logits, target):
    return functional.kl_div(logits.log_softmax(1), target.softmax(1), reduction='batchmean')


KINDS = {
    'one label': (None, functional.cross_entropy, softmax_divergence, small_batch()['targets']),
    'several labels': (
        dict(type='MultiLabelLoss'),
        functional.binary_cross_entropy_with_logits,
        bernoulli_divergence,
        torch.eye(4, 10),
    ),
}


def test_divergence_equals_its_definition():
    logits, target = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([[0.0, 3.0, 1.0]])
    p, q = (target / 2).softmax(1), (logits / 2).softmax(1)
    expected = 4 * (p * (p / q).log()).sum()
    assert torch.isclose(soft_target_divergence(logits, target, 2.0), expected)
    assert soft_target_divergence(target, target, 2.0).abs() < 1e-6


@pytest.mark.parametrize('kind', KINDS)
def test_motivated_step_is_followed_by_a_step_of_the_base_on_the_same_batch(kind):
    """Compare with plain PyTorch: motivated step, transfer, base step, transfer."""
    config, measure, divergence, targets = KINDS[kind]
    model = distilling(config, weight=0.25, temperature=2.0)
    wrappers = optimizers(model)
    model.train()
    model.activate()
    base, motivated = copy.deepcopy(model.base), copy.deepcopy(model.motivated)
    steps = {m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1) for m in (base, motivated)}
    batch = {**small_batch(), 'targets': targets}
    data = base.data_preprocessor(batch, True)

    logits = motivated.backbone(data['inputs'])
    loss = measure(logits, data['targets'])
    loss.backward()
    steps[motivated].step()
    with torch.no_grad():
        for name, tensor in base.named_parameters():
            tensor.copy_(motivated.get_parameter(name))
    own = base.backbone(data['inputs'])
    base_loss = 0.75 * measure(own, data['targets'])
    base_loss = base_loss + 0.25 * 4 * divergence(own / 2, logits.detach() / 2)
    base_loss.backward()
    steps[base].step()

    outputs = model.train_step(batch, wrappers)
    assert torch.isclose(outputs['loss'], loss) and torch.isclose(outputs['distillation_loss'], base_loss)
    assert outputs['motivated'] == 1.0
    for name, tensor in base.named_parameters():
        torch.testing.assert_close(model.base.get_parameter(name), tensor)
        assert torch.equal(model.motivated.get_parameter(name), model.base.get_parameter(name)), name


def test_base_batches_are_the_same_with_and_without_distillation():
    model, plain = distilling(weight=0.5), distilling(weight=0.5)
    plain.distillation = None
    for one in (model, plain):
        assert 'distillation_loss' not in one.train_step(small_batch(), optimizers(one))
    assert all(torch.equal(tensor, plain.state_dict()[name]) for name, tensor in snapshot(model).items())


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        (dict(weight=0), r'^distillation\.weight must be above 0, got 0$'),
        (dict(weight=1.5), r'^distillation\.weight must be .*, got 1\.5$'),
        (dict(weight='half'), r"^distillation\.weight must be .*, got 'half'$"),
        (dict(wait=0.5), r"^distillation\.wait is not an argument of Distillation; .*'weight'"),
        (dict(temperature=0), r'^distillation\.temperature must be above 0, got 0$'),
    ],
)
def test_values_out_of_range_are_an_error(fields, message):
    with pytest.raises(ConfigError, match=message):
        distilling(**fields)


def test_models_with_different_normalisation_are_an_error():
    with pytest.raises(ConfigError, match=r'^base\.mean and motivated\.mean differ'):
        DualModel(
            base=classifier('cifar_resnet8', mean=[0.1, 0.2, 0.3]), motivated=classifier('cifar_resnet20'),
            distillation=dict(weight=0.5),
        )  # fmt: skip
