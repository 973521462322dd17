"""Metrics of torchmetrics on uneven batches, against scikit-learn, scipy or definitions written out."""

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from sklearn import metrics as sklearn_metrics

from motivation.errors import ArgumentError
from motivation.evaluation import CrossEntropy, TorchMetric
from motivation.evaluation.accuracy import Accuracy

CLASSES = ['ant', 'bee', 'cat', 'dog']
SIZES = (8, 8, 5)  # of the batches
N = sum(SIZES)


@pytest.fixture(scope='module')
def one_class():
    """Logits (N, 4) and a class of each image."""
    random = np.random.default_rng(1)
    targets = random.permutation(np.arange(N) % 4)
    return random.normal(size=(N, 4)).astype(np.float32) + np.eye(4, dtype=np.float32)[targets], targets


@pytest.fixture(scope='module')
def several_labels():
    """Logits (N, 4) and some labels of each image."""
    random = np.random.default_rng(2)
    targets = (random.random((N, 4)) < 0.4).astype(np.float32)
    return random.normal(size=(N, 4)).astype(np.float32) + targets, targets


def evaluate(metric, data, classes=CLASSES):
    metric.dataset_meta = {'classes': classes}
    logits, targets = map(torch.from_numpy, data)
    first = 0
    for size in SIZES:
        rows = range(first, first + size)
        metric.process(None, [{'logits': logits[row], 'target': targets[row]} for row in rows])
        first += size
    return metric.evaluate(N)


def percent(value):
    return pytest.approx(100 * value, rel=1e-5)


def _top(logits, targets, k, label):
    own = targets == label
    return np.mean([label in row.argsort()[-k:] for row in logits[own]])


def _calibration(logits, targets, bins):
    """Guo et al. 2017 (arXiv 1706.04599), equation 3."""
    probabilities = softmax(logits, axis=1)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == targets
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return sum(
        (place == bin).mean() * abs(right[place == bin].mean() - confidence[place == bin].mean())
        for bin in np.unique(place)
    )


ONE_CLASS = {
    'f1/macro': (
        dict(metric='F1Score'), lambda x, y: 100 * sklearn_metrics.f1_score(y, x.argmax(1), average='macro'),
    ),
    'f1/weighted': (
        dict(metric='F1Score', average='weighted'),
        lambda x, y: 100 * sklearn_metrics.f1_score(y, x.argmax(1), average='weighted'),
    ),
    'fbeta/b2': (
        dict(metric='FBetaScore', beta=2.0, name='b2'),
        lambda x, y: 100 * sklearn_metrics.fbeta_score(y, x.argmax(1), beta=2, average='macro'),
    ),
    'precision/micro': (
        dict(metric='Precision', average='micro'),
        lambda x, y: 100 * sklearn_metrics.precision_score(y, x.argmax(1), average='micro'),
    ),
    'recall/macro': (
        dict(metric='Recall'), lambda x, y: 100 * sklearn_metrics.recall_score(y, x.argmax(1), average='macro'),
    ),
    'accuracy/macro': (
        dict(metric='Accuracy'), lambda x, y: 100 * sklearn_metrics.balanced_accuracy_score(y, x.argmax(1)),
    ),
    'accuracy/macro_top2': (
        dict(metric='Accuracy', top_k=2), lambda x, y: 100 * np.mean([_top(x, y, 2, label) for label in range(4)]),
    ),
    'auroc/macro': (
        dict(metric='AUROC'), lambda x, y: 100 * sklearn_metrics.roc_auc_score(y, softmax(x, 1), multi_class='ovr'),
    ),
    'map/macro': (
        dict(metric='AveragePrecision'),
        lambda x, y: 100 * sklearn_metrics.average_precision_score(np.eye(4)[y], softmax(x, 1)),
    ),
    'calibration_error/l1': (
        dict(metric='CalibrationError', n_bins=5), lambda x, y: 100 * _calibration(x, y, 5),
    ),
    'matthews/value': (
        dict(metric='MatthewsCorrCoef'), lambda x, y: sklearn_metrics.matthews_corrcoef(y, x.argmax(1)),
    ),
    'cohen_kappa/value': (
        dict(metric='CohenKappa'), lambda x, y: sklearn_metrics.cohen_kappa_score(y, x.argmax(1)),
    ),
}  # fmt: skip

SEVERAL = {
    'map/macro': (
        dict(metric='AveragePrecision'), lambda x, y: 100 * sklearn_metrics.average_precision_score(y, expit(x)),
    ),
    'f1/micro': (
        dict(metric='F1Score', average='micro', threshold=0.4),
        lambda x, y: 100 * sklearn_metrics.f1_score(y, expit(x) > 0.4, average='micro'),
    ),
    'auroc/macro': (
        dict(metric='AUROC', task='multilabel'), lambda x, y: 100 * sklearn_metrics.roc_auc_score(y, expit(x)),
    ),
    'exact_match/value': (
        dict(metric='ExactMatch'), lambda x, y: 100 * sklearn_metrics.accuracy_score(y, expit(x) > 0.5),
    ),
    'ranking_loss/value': (
        dict(metric='RankingLoss'), lambda x, y: sklearn_metrics.label_ranking_loss(y, expit(x)),
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', ONE_CLASS)
def test_metric_of_one_class_an_image_is_that_of_scikit_learn(name, one_class):
    arguments, expected = ONE_CLASS[name]
    assert evaluate(TorchMetric(**arguments), one_class) == {name: pytest.approx(expected(*one_class), rel=1e-5)}


@pytest.mark.parametrize('name', SEVERAL)
def test_metric_of_several_labels_an_image_is_that_of_scikit_learn(name, several_labels):
    arguments, expected = SEVERAL[name]
    values = evaluate(TorchMetric(**arguments), several_labels)
    assert values == {name: pytest.approx(expected(*several_labels), rel=1e-5)}


def test_values_of_single_classes_have_their_names(one_class):
    logits, targets = one_class
    expected = sklearn_metrics.recall_score(targets, logits.argmax(1), average=None)
    values = evaluate(TorchMetric('Recall', per_class=True), one_class)
    assert [*values] == ['recall/macro', *(f'recall/class/{label}' for label in CLASSES)]
    assert [*values.values()][1:] == [percent(value) for value in expected]
    alone = evaluate(TorchMetric('Recall', average='none'), one_class, ['ant', 'bee', 'bee', 'x/y'])
    assert [*alone] == [f'recall/class/{label}' for label in ('ant', 'bee 1', 'bee 2', 'x/y')]


def test_probabilities_are_those_of_all_logits_even_if_these_lie_between_0_and_1():
    """torchmetrics alone would take such logits for probabilities, one batch but not the next."""
    logits, targets = np.array([[0.9, 0.1], [0.2, 0.4], [0.3, 0.6]], np.float32), np.array([0, 0, 1])
    metric = TorchMetric('CalibrationError', n_bins=1)
    samples = [{'logits': torch.tensor(x), 'target': torch.tensor(y)} for x, y in zip(logits, targets, strict=True)]
    metric.process(None, samples)
    assert metric.evaluate(3) == {'calibration_error/l1': percent(abs(2 / 3 - softmax(logits, 1).max(1).mean()))}


def test_images_that_a_sampler_has_added_do_not_count(one_class):
    logits, targets = one_class
    metric = TorchMetric('Recall', average='micro')
    samples = [{'logits': torch.tensor(x), 'target': torch.tensor(y)} for x, y in zip(logits, targets, strict=True)]
    metric.process(None, [*samples, *samples[:3]])
    assert metric.evaluate(N) == {'recall/micro': percent((logits.argmax(1) == targets).mean())}


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(metric='F1Scor'), r"^metric is 'F1Scor', which is not a metric of .*; did you mean 'F1Score' or"),
        (dict(metric='ConfusionMatrix'), r"^metric is 'ConfusionMatrix', which is not a number; predictions\.csv "),
        (dict(metric='F1Score', topk=2), r"^topk is not an argument of .*; did you mean 'top_k'\?"),
        (dict(metric='F1Score', average='max'), r"^average must be 'macro', .*, got 'max'"),
        (dict(metric='F1Score', num_classes=4), r'^num_classes is not an argument of'),
        (dict(metric='CohenKappa', average='macro'), r'^average is given, and CohenKappa is not of single classes'),
        (dict(metric='CalibrationError', norm='l3'), r'^norm does not suit CalibrationError: Expected argument `norm`'),
        (dict(metric='CohenKappa', task='multilabel'), r"^task is 'multilabel', and CohenKappa .* multiclass only"),
        (dict(metric='Recall', name='a/b'), r"^name must be one part of a name, without /, got 'a/b'"),
    ],
)  # fmt: skip
def test_unsuitable_argument_is_one_sentence(arguments, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        TorchMetric(**arguments)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(metric='CohenKappa'), r"^metric is 'CohenKappa', .* does not have for several labels"),
        (dict(metric='F1Score', task='multiclass'), "^task is 'multiclass', and the data have several labels"),
        (dict(metric='Accuracy', top_k=2), '^top_k is not an argument of MultilabelAccuracy'),
    ],
)
def test_metric_that_does_not_suit_several_labels_is_refused(arguments, message, several_labels):
    with pytest.raises(ArgumentError, match=message):
        evaluate(TorchMetric(**arguments), several_labels)


def test_k_above_the_number_of_classes_is_refused(one_class):
    with pytest.raises(ArgumentError, match=r'^top_k must be from 1 to 4, the number of classes, got 5'):
        evaluate(TorchMetric('Accuracy', top_k=5), one_class)


def test_own_metrics_of_several_labels(several_labels):
    logits, targets = several_labels
    probabilities = expit(logits.astype(float))
    expected = -np.log(np.where(targets == 1, probabilities, 1 - probabilities)).mean()
    assert evaluate(CrossEntropy(), several_labels) == {'loss/cross_entropy': pytest.approx(expected, rel=1e-5)}
    with pytest.raises(ValueError, match=r'^Accuracy is of one class an image, and the data have several labels'):
        evaluate(Accuracy(), several_labels)


# Results of data without images of 'dog', by those of the classes that have some.
WITHOUT_DOG = {
    'auroc/macro': (dict(metric='AUROC'), sklearn_metrics.roc_auc_score, np.mean),
    'auroc/weighted': (dict(metric='AUROC', average='weighted'), sklearn_metrics.roc_auc_score, None),
    'map/macro': (dict(metric='AveragePrecision'), sklearn_metrics.average_precision_score, np.mean),
}


@pytest.mark.parametrize('several', [False, True])
@pytest.mark.parametrize('name', WITHOUT_DOG)
def test_average_is_of_the_classes_that_have_images(name, several, one_class, several_labels):
    arguments, of_class, mean = WITHOUT_DOG[name]
    if several:
        logits, targets = several_labels
        targets = targets * [1, 1, 1, 0]
        data, truth, probabilities = (logits, targets.astype(np.float32)), targets, expit(logits)
    else:
        logits, targets = one_class
        data = logits, targets % 3
        truth, probabilities = np.eye(4)[targets % 3], softmax(logits, axis=1)
    expected = [of_class(truth[:, place], probabilities[:, place]) for place in range(3)]
    average = mean(expected) if mean else np.average(expected, weights=truth.sum(0)[:3])
    values = evaluate(TorchMetric(per_class=True, **arguments), data)
    group = name.split('/')[0]
    assert values == {
        name: percent(average),
        **{f'{group}/class/{label}': percent(value) for label, value in zip(CLASSES[:3], expected, strict=True)},
    }


def test_class_that_no_image_has_counts_as_0_where_an_image_is_taken_for_it(one_class):
    logits, targets = one_class
    assert 3 in logits.argmax(1)
    values = evaluate(TorchMetric('F1Score', per_class=True), (logits, targets % 3))
    expected = sklearn_metrics.f1_score(targets % 3, logits.argmax(1), average=None)
    assert len(expected) == 4 and values['f1/macro'] == percent(expected.mean()) and 'f1/class/dog' not in values
    never = logits - np.float32([0, 0, 0, 99])
    expected = sklearn_metrics.f1_score(targets % 3, never.argmax(1), average='macro')
    assert evaluate(TorchMetric('F1Score'), (never, targets % 3)) == {'f1/macro': percent(expected)}


@pytest.mark.parametrize('shift', [0, 99])
def test_label_that_no_image_has_is_left_out_unless_predicted(shift, several_labels):
    logits, targets = several_labels
    logits, targets = logits - np.float32([0, 0, 0, shift]), (targets * [1, 1, 1, 0]).astype(np.float32)
    kept = 3 if shift else 4
    expected = sklearn_metrics.f1_score(targets[:, :kept], expit(logits)[:, :kept] > 0.5, average='macro')
    assert evaluate(TorchMetric('F1Score'), (logits, targets)) == {'f1/macro': percent(expected)}
    assert evaluate(TorchMetric('F1Score', zero_division=1.0), (logits, targets)) == {
        'f1/macro': percent(expected * kept / 4 + (4 - kept) / 4)
    }


def test_average_of_no_class_is_not_reported(several_labels):
    assert evaluate(TorchMetric('AUROC'), (several_labels[0], np.ones((N, 4), np.float32))) == {}
