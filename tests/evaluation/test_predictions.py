"""Predictions of a validation are collected, also in two processes, each image once."""

import json
from types import SimpleNamespace

import numpy as np
import torch

from motivation.evaluation.predictions import PredictionCollector, Predictions
from tests.conftest import ROOT
from tests.engine.forked_processes import two_forks

LOGITS = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
TARGETS = np.arange(9) % 3


def outputs(rows, several=False):
    targets = torch.eye(3)[torch.tensor(TARGETS)] if several else torch.tensor(TARGETS)
    samples = [{'logits': torch.tensor(LOGITS[row]), 'target': targets[row]} for row in rows]
    return {'base': samples, 'base/ema': [{**sample, 'logits': -sample['logits']} for sample in samples]}


def collected(batches, several=False, **known):
    collector = PredictionCollector()
    for rows in batches:
        own = {name: [values[row] for row in rows] for name, values in known.items()}
        collector.add(outputs(rows, several), SimpleNamespace(**own))
    return collector


def test_predictions_of_uneven_batches_are_those_of_the_logits():
    found = collected([[0, 1, 2, 3], [4, 5, 6, 7], [8]]).gather(9)
    exponentials = np.exp(LOGITS.astype(float))
    softmax = exponentials / exponentials.sum(1, keepdims=True)
    assert found.predicted['base'].tolist() == LOGITS.argmax(1).tolist()
    assert found.predicted['base/ema'].tolist() == LOGITS.argmin(1).tolist()
    np.testing.assert_allclose(found.probabilities['base'], softmax.max(1), rtol=1e-5)
    assert found.right('base').tolist() == (LOGITS.argmax(1) == TARGETS).tolist()
    assert found.targets.tolist() == TARGETS.tolist()
    assert found.names == [f'image {number}' for number in range(9)] and set(found.indices) == {-1}


def test_predictions_of_several_labels_are_those_of_a_probability_of_a_half():
    found = collected([[0, 1, 2, 3], [4, 5, 6, 7, 8]], several=True).gather(9)
    assert found.several_labels and found.predicted['base'].tolist() == (LOGITS >= 0).tolist()
    np.testing.assert_allclose(found.probabilities['base'], 1 / (1 + np.exp(-LOGITS)), rtol=1e-5)
    assert found.right('base').tolist() == ((LOGITS >= 0) == np.eye(3, dtype=bool)[TARGETS]).all(1).tolist()


def test_order_is_that_of_the_data_set():
    names = [f"'a/{number}.png'" for number in range(9)]
    found = collected([[8, 1, 2], [5, 4, 3, 7], [0, 6]], indices=range(9), names=names).gather(9)
    assert found.indices.tolist() == list(range(9)) and found.names[8] == 'a/8.png'
    assert found.predicted['base'].tolist() == LOGITS.argmax(1).tolist()


def test_indices_within_joined_data_sets_do_not_drop_images():
    found = collected([[0, 1, 2, 3, 4], [5, 6, 7, 8]], indices=[0, 1, 2, 3, 4, 0, 1, 2, 3]).gather(9)
    assert found.predicted['base'].tolist() == LOGITS.argmax(1).tolist() and set(found.indices) == {-1}


def test_images_that_a_sampler_adds_are_left_out_where_no_index_is_known():
    assert collected([[0, 1, 2, 3, 4, 5], [6, 7, 8, 0]]).gather(9).targets.tolist() == TARGETS.tolist()


def test_state_restores_the_predictions():
    for several in (False, True):
        found = collected([range(9)], several).gather(9)
        again = Predictions.from_state_dict(found.state_dict())
        assert again.names == found.names
        for name in ('base', 'base/ema'):
            np.testing.assert_array_equal(again.predicted[name], found.predicted[name])
            np.testing.assert_array_equal(again.probabilities[name], found.probabilities[name])
        np.testing.assert_array_equal(again.targets, found.targets)


SCRIPT = f"""
import sys, json
sys.path.insert(0, {str(ROOT)!r})
import torch
from motivation.evaluation import TorchMetric
from motivation.utils.distributed import join_processes
from tests.evaluation.test_predictions import collected, outputs
join_processes()
rank = torch.distributed.get_rank()
own = [*range(rank, 9, 2), *([0] if rank == 1 else [])]  # as a sampler deals them, with one image twice
parts = [own[:2], own[2:]]
metric = TorchMetric('F1Score')
for rows in parts:
    metric.process(None, outputs(rows)['base'])
found = collected(parts).gather(9)
named = collected(parts, indices=range(9)).gather(9)
said = [metric.evaluate(9), *(one.predicted['base'].tolist() for one in (found, named))]
open(f'{{sys.argv[1]}}/{{rank}}.json', 'w').write(json.dumps(said))
"""


def test_two_processes_find_what_one_does(tmp_path):
    from sklearn.metrics import f1_score  # which few tests need

    (tmp_path / 'collect.py').write_text(SCRIPT)
    two_forks(tmp_path / 'collect.py', tmp_path)
    for rank in '01':
        metric, found, named = json.loads((tmp_path / f'{rank}.json').read_text())
        expected = 100 * f1_score(TARGETS, LOGITS.argmax(1), average='macro')
        np.testing.assert_allclose(metric['f1/macro'], expected, rtol=1e-5)
        assert found == named == LOGITS.argmax(1).tolist()
