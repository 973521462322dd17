"""Each loss against an independent computation."""

import numpy as np
import pytest
import timm.loss
import torch
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight
from torch.distributions import Bernoulli, kl_divergence
from torch.nn import functional as F

from motivation.errors import ConfigError
from motivation.models import TimmClassifier
from motivation.models.class_weights import ClassWeights, balanced, negatives_over_positives
from motivation.models.divergences import independent_divergence
from motivation.models.losses import build_loss
from motivation.registry import LOSSES
from tests.conftest import ROOT

N, K = 6, 4
GENERATOR = torch.Generator().manual_seed(0)
LOGITS = 3 * torch.randn(N, K, generator=GENERATOR)
INDICES = torch.randint(K, (N,), generator=GENERATOR)
SOFT = torch.rand(N, K, generator=GENERATOR).softmax(dim=1)
SEVERAL = torch.randint(2, (N, K), generator=GENERATOR).float()
WEIGHTS = [0.5, 1.0, 2.0, 4.0]


def loss(kind='CrossEntropyLoss', label_smoothing=0.0, **arguments):
    return build_loss(dict(type=kind, **arguments), K, label_smoothing)


def sigmoid(x):
    return 1 / (1 + np.exp(-x.double().numpy()))


def test_loss_of_a_config_without_one_has_the_bits_of_torch_and_timm():
    assert torch.equal(build_loss(None, K, 0.0)(LOGITS, INDICES), torch.nn.CrossEntropyLoss()(LOGITS, INDICES))
    smoothed = timm.loss.LabelSmoothingCrossEntropy(0.1)(LOGITS, INDICES)
    assert torch.equal(build_loss(None, K, 0.1)(LOGITS, INDICES), smoothed)
    soft = timm.loss.SoftTargetCrossEntropy()(LOGITS, SOFT)
    assert torch.equal(build_loss(None, K, 0.1)(LOGITS, SOFT), soft)


@pytest.mark.parametrize('smoothing', [0.0, 0.2])
def test_class_weights_multiply_the_loss_of_each_image(smoothing):
    log_p = np.log(LOGITS.double().softmax(dim=1).numpy())
    targets = (1 - smoothing) * np.eye(K)[INDICES] + smoothing / K
    expected = -(np.array(WEIGHTS) * targets * log_p).sum() / N
    weighted = loss(class_weights=WEIGHTS, label_smoothing=smoothing)
    assert weighted(LOGITS, INDICES).item() == pytest.approx(expected, rel=1e-5)
    soft = -(np.array(WEIGHTS) * SOFT.numpy() * log_p).sum() / N
    assert weighted(LOGITS, SOFT).item() == pytest.approx(soft, rel=1e-5)


@pytest.mark.parametrize('targets', [INDICES, SOFT], ids=['indices', 'soft'])
@pytest.mark.parametrize(
    'arguments',
    [{}, dict(target_threshold=0.2), dict(sum_classes=True), dict(pos_weight=WEIGHTS), dict(pos_weight=3.0)],
)
@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_binary_cross_entropy_is_that_of_timm(smoothing, arguments, targets):
    ours = loss('BinaryCrossEntropyLoss', smoothing, **arguments)(LOGITS, targets)
    if 'pos_weight' in arguments:
        arguments = {'pos_weight': torch.tensor(arguments['pos_weight'])}
    theirs = timm.loss.BinaryCrossEntropy(smoothing, **arguments)(LOGITS, targets)
    torch.testing.assert_close(ours, theirs)


def test_loss_for_several_labels_is_the_log_loss_of_every_answer():
    probabilities = sigmoid(LOGITS).flatten()
    expected = log_loss(SEVERAL.flatten(), np.stack([1 - probabilities, probabilities], axis=1))
    assert loss('MultiLabelLoss')(LOGITS, SEVERAL).item() == pytest.approx(expected, rel=1e-5)
    p, y = sigmoid(LOGITS), SEVERAL.numpy()
    weighted = -(np.array(WEIGHTS) * y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    assert loss('MultiLabelLoss', pos_weight=WEIGHTS)(LOGITS, SEVERAL).item() == pytest.approx(weighted, rel=1e-5)
    y = 0.8 * y + 0.1
    smoothed = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    assert loss('MultiLabelLoss', 0.2)(LOGITS, SEVERAL).item() == pytest.approx(smoothed, rel=1e-5)


def test_focal_loss_is_its_formula_and_without_focus_the_plain_loss():
    p, y = sigmoid(LOGITS), SEVERAL.numpy()
    of_labels, of_others = 0.3 * (1 - p) ** 1.5 * np.log(p), 0.7 * p**1.5 * np.log(1 - p)
    expected = -(y * of_labels + (1 - y) * of_others).mean()
    assert loss('FocalLoss', gamma=1.5, alpha=0.3)(LOGITS, SEVERAL).item() == pytest.approx(expected, rel=1e-5)
    plain = loss('FocalLoss', gamma=0.0, alpha=None)(LOGITS, SEVERAL)
    torch.testing.assert_close(plain, loss('MultiLabelLoss')(LOGITS, SEVERAL))


@pytest.mark.parametrize(
    'arguments', [{}, dict(gamma_neg=2.0, gamma_pos=0.0, clip=0.0), dict(gamma_neg=0.0, gamma_pos=0.0)]
)
def test_asymmetric_loss_is_that_of_timm(arguments):
    theirs = timm.loss.AsymmetricLossMultiLabel(**arguments)(LOGITS, SEVERAL)
    torch.testing.assert_close(loss('AsymmetricLoss', **arguments)(LOGITS, SEVERAL), theirs)


def test_asymmetric_loss_has_gradients_where_a_model_is_certain():
    logits = torch.tensor([[60.0, -60.0, 60.0, -60.0]], requires_grad=True)
    loss('AsymmetricLoss')(logits, torch.tensor([[1.0, 0.0, 0.0, 1.0]])).backward()
    assert logits.grad.isfinite().all() and logits.grad[0, 3] < 0  # a label that is missed is learnt


@pytest.mark.parametrize(
    ('kind', 'targets', 'arguments'),
    [
        ('CrossEntropyLoss', INDICES, {}),
        ('CrossEntropyLoss', INDICES, dict(label_smoothing=0.1)),
        ('CrossEntropyLoss', INDICES, dict(class_weights=WEIGHTS)),
        ('BinaryCrossEntropyLoss', INDICES, dict(sum_classes=True)),
        ('MultiLabelLoss', SEVERAL, {}),
        ('FocalLoss', SEVERAL, {}),
        ('AsymmetricLoss', SEVERAL, {}),
    ],
)
def test_mean_of_the_losses_of_images_is_the_loss(kind, targets, arguments):
    measure = loss(kind, **arguments)
    one_by_one = torch.stack([measure(LOGITS[[n]], targets[[n]]) for n in range(N)])
    torch.testing.assert_close(measure.of_each(LOGITS, targets), one_by_one)
    torch.testing.assert_close(measure(LOGITS, targets), one_by_one.mean())


def test_balanced_weights_are_those_of_scikit_learn():
    labels = torch.tensor([0, 0, 0, 1, 2, 2, 3, 3, 3, 3])
    weights = ClassWeights('class_weights', 'auto', K)
    weights.fit(torch.cat([labels, torch.tensor([-1, 7])]))  # labels that are no class do not count
    expected = compute_class_weight('balanced', classes=np.arange(K), y=labels.numpy())
    assert weights().tolist() == pytest.approx(expected)
    assert weights()[labels].mean().item() == pytest.approx(1)
    assert not weights.state_dict()  # a weight map would transfer it


def test_automatic_positive_weights_are_negatives_over_positives():
    weights = ClassWeights('pos_weight', 'auto', 2, negatives_over_positives)
    weights.fit(torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [1.0, 0.0]]))
    assert weights().tolist() == pytest.approx([1 / 3, 3])


def test_divergence_of_independent_classes_is_that_of_bernoulli_distributions():
    other = torch.flip(LOGITS, [0])
    of_each = kl_divergence(Bernoulli(logits=other / 2), Bernoulli(logits=LOGITS / 2))
    torch.testing.assert_close(independent_divergence(LOGITS, other, 2.0), 4 * of_each.mean())
    summed = loss('AsymmetricLoss').divergence(LOGITS, other, 2.0)
    torch.testing.assert_close(summed, 4 * of_each.sum(dim=1).mean())
    # Up to a constant it is the loss with soft targets.
    logits = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss('MultiLabelLoss').divergence(logits, other, 1.0), logits)
    (expected,) = torch.autograd.grad(F.binary_cross_entropy_with_logits(logits, other.sigmoid()), logits)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(class_weights=[1.0, 2.0]), r'^class_weights has 2 numbers, and the model 4 classes; give one a class'),
        (dict(class_weights=[0.0] * 4), r'^class_weights is 0 for every class'),
        (dict(class_weights='balanced'), r"^class_weights must be .*'auto'.*, got 'balanced'"),
        (dict(class_weights=[1, 1, 1, -1]), r'^class_weights must be a list, each at least 0'),
        (dict(kind='MultiLabelLoss', pos_weight=0.0), r'^pos_weight must be .*above 0'),
        (dict(kind='FocalLoss', alpha=2.0), r'^alpha must be at most 1'),
    ],
)
def test_wrong_argument_is_named(arguments, message):
    with pytest.raises(ConfigError) as caught:
        loss(**arguments)
    with pytest.raises(ValueError, match=message):
        raise caught.value.error


def test_arguments_of_the_model_are_refused_in_the_loss():
    with pytest.raises(
        ConfigError, match=r"^loss\.label_smoothing is the model's; write label_smoothing=0.1 beside loss$"
    ):
        build_loss(dict(label_smoothing=0.1), K, 0.0)


def test_class_without_images_has_no_automatic_weight():
    with pytest.raises(ConfigError, match=r"^class_weights is 'auto', and class 'cat' has 0 of the 3 training images"):
        ClassWeights('class_weights', 'auto', 2, balanced).fit(torch.tensor([0, 0, 0]), ['dog', 'cat'])
    with pytest.raises(ConfigError, match=r"class 'dog' has 3 of the 3 training images, which gives it no weight"):
        ClassWeights('pos_weight', 'auto', 2, negatives_over_positives).fit(
            torch.tensor([[1.0, 0], [1, 1], [1, 0]]), ['dog', 'cat']
        )
    with pytest.raises(ConfigError, match=r"^class_weights is 'auto', which a run counts in its training data"):
        loss(class_weights='auto')(LOGITS, INDICES)


@pytest.mark.parametrize('mode', ['batch', 'elem', 'pair'])
def test_mixtures_have_the_labels_of_both_images_in_the_same_shares(mode):
    mixup = dict(mixup_alpha=1.0, mode=mode)
    model = TimmClassifier('cifar_resnet8', 3, mixup=mixup, loss=dict(type='MultiLabelLoss'), label_smoothing=0.1)
    torch.manual_seed(0)
    np.random.seed(0)
    inputs = torch.rand(5, 3, 8, 8)
    data = {'inputs': inputs, 'targets': torch.eye(5, 3)}
    plain, mixed = model.data_preprocessor(data, False)['inputs'], model.data_preprocessor(data, True)
    padded = torch.cat([plain, plain[-1:]])
    targets = torch.cat([data['targets'], data['targets'][-1:]])
    other = [5 - place for place in range(6)]  # timm pairs first and last; the last of an odd batch is repeated
    for place in range(5):
        one, two = padded[place], padded[other[place]]
        shares = ((mixed['inputs'][place] - two) / (one - two)).flatten()
        share = shares[shares.isfinite()].median() if not torch.equal(one, two) else torch.tensor(1.0)
        expected = share * targets[place] + (1 - share) * targets[other[place]]
        torch.testing.assert_close(mixed['targets'][place], expected, rtol=1e-3, atol=1e-3)
    assert model.data_preprocessor.mixup.num_classes == 3
    assert model(**mixed, mode='loss')['loss'].isfinite()


def test_loss_of_the_docs_trains_a_model():
    code = (ROOT / 'docs/losses.md').read_text().partition('# my_loss.py')[2].partition('\n')[2].partition('```')[0]
    exec(code, {})
    model = TimmClassifier('cifar_resnet8', K, loss=dict(type='HingeLoss', margin=0.5))
    assert model.outputs == 'sigmoid'
    expected = np.maximum(0.5 - (2 * SEVERAL.numpy() - 1) * LOGITS.numpy(), 0).mean()
    assert model.loss(LOGITS, SEVERAL).item() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(
        ConfigError, match=r'^label_smoothing is 0\.1, which the loss HingeLoss does not take; leave it out'
    ):
        TimmClassifier('cifar_resnet8', K, loss=dict(type='HingeLoss'), label_smoothing=0.1)
    LOSSES.module_dict.pop('HingeLoss')
