"""A batch costs one collective and one read of the device, and its record is the same for all processes."""

import json
import math

import pytest
import torch

from motivation.engine.optim.exchanging import exchange_of
from tests.conftest import ROOT, small_batch, small_dual_model
from tests.engine.forked_processes import two_forks
from tests.engine.step_runs import ASKING, count
from tests.models.test_distillation import distilling
from tests.models.test_dual_model import optimizers


@pytest.mark.parametrize('options', [{}, ASKING], ids=['plain', 'asking'])
def test_batch_of_one_process_costs_one_read_and_no_collective(tmp_path, options):
    counts = count(tmp_path / 'run', **options)
    assert counts.costs == [{'collectives': [], 'reads': ['tolist']}] * 5
    assert counts.losses == [record[1] for record in counts.records]


@pytest.fixture(scope='module')
def both(tmp_path_factory):
    """Return what each of two processes recorded of the same runs."""
    folder = tmp_path_factory.mktemp('two')
    two_forks(ROOT / 'tests/engine/step_runs.py', folder)
    return [json.loads((folder / f'{rank}.json').read_text()) for rank in '01']


@pytest.mark.parametrize('run', ['plain', 'asking'])
def test_batch_of_two_processes_costs_one_read_and_one_collective(both, run):
    for said in both:
        assert said[run]['costs'] == [{'collectives': ['all_reduce'], 'reads': ['tolist']}] * 5


@pytest.mark.parametrize('run', ['plain', 'asking'])
def test_record_is_the_same_for_all_processes_and_has_their_mean_loss(both, run):
    first, second = (said[run] for said in both)
    assert first['records'] == second['records'] and first['losses'] != second['losses']
    means = [(a + b) / 2 for a, b in zip(first['losses'], second['losses'], strict=True)]
    assert [loss for _, loss, *_ in first['records']] == means
    assert {images for _, _, images, *_ in first['records']} == {2 * 16}
    clocks = [clock for _, _, _, clock, *_ in first['records']]
    assert clocks == sorted(clocks) and clocks[0] > 0


def test_non_finite_loss_in_one_process_skips_the_batch_in_all(both):
    """The weights of the processes stay equal."""
    first, second = (said['spoilt'] for said in both)
    assert first == second and first['skipped'] == 1 and math.isfinite(first['weights'])
    assert [loss is None for loss in first['losses']] == [batch == 2 for batch in range(6)]


def test_signal_to_one_process_stops_all_after_the_batch(both):
    assert [said['stopped'] for said in both] == [{'iter': 3, 'status': 143}] * 2


def step(model, wrappers, batch):
    """Run a batch like the training loop; return its record and the logged values."""
    exchange = exchange_of(wrappers)
    exchange.begin(batch, lambda: False)
    outputs = model.train_step(batch, wrappers)
    return exchange.complete(model.active, outputs, seconds=1.0), outputs


def test_record_of_a_distilled_batch_has_the_motivated_models_loss():
    model = distilling(weight=0.5).train()
    wrappers = optimizers(model)
    model.activate()
    record, outputs = step(model, wrappers, small_batch())
    assert record.distilled and (record.model, record.images) == ('motivated', 4)
    assert (
        record.loss == outputs['loss'] != outputs['distillation_loss'] and type(outputs['distillation_loss']) is float
    )


@pytest.mark.parametrize('steps', [0, 1, 2])
def test_loss_is_that_of_the_step_or_of_a_user_defined_train_step(monkeypatch, steps):
    model = small_dual_model().train()
    squares = model.base.backbone.fc.weight.square().sum().item()

    def train_step(data, optim_wrapper):
        for _ in range(steps):
            optim_wrapper.update_params(model.base.backbone.fc.weight.square().sum())
        return {'loss': torch.tensor(0.5)}

    monkeypatch.setattr(model.base, 'train_step', train_step)
    record, outputs = step(model, optimizers(model), small_batch())
    assert record.loss == outputs['loss'] == (squares if steps == 1 else 0.5) and record.images == 4
