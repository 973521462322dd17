"""All features of the engine at once, in two processes, and in four as on two machines."""

import json
from pathlib import Path

import pytest

from motivation.compute.macs import Macs
from motivation.utils.checkpoint import read_checkpoint
from tests.conftest import ROOT
from tests.engine.forked_processes import forks

SCRIPT = ROOT / 'tests/engine/everything_runs.py'
BATCH = 5


def run(folder, name, machines, on_each, stop_after=0):
    forks(machines, on_each, SCRIPT, folder / name, stop_after)
    return [json.loads(Path(folder, f'{name}.{rank}.json').read_text()) for rank in range(machines * on_each)]


def test_stopped_run_of_two_processes_resumes_bit_for_bit(tmp_path):
    """A signal to one process stops both within an epoch."""
    whole = run(tmp_path, 'whole', 1, 2)
    stopped = run(tmp_path, 'stopped', 1, 2, stop_after=5)
    assert [said['status'] for said in stopped] == [143] * 2
    assert (tmp_path / 'stopped/epoch_1_iter_5.pth').exists()
    assert whole == run(tmp_path, 'stopped', 1, 2)
    ends = [read_checkpoint(tmp_path / name / 'epoch_2.pth') for name in ('whole', 'stopped')]
    for part in ('state_dict', 'ema'):
        for name, value in ends[0][part].items():
            assert str(value) == str(ends[1][part][name]), (part, name)


@pytest.fixture(scope='module')
def four(tmp_path_factory):
    """Return what each process says of a run of two machines with two processes."""
    return run(tmp_path_factory.mktemp('four'), 'whole', 2, 2)


def test_processes_of_two_machines_end_with_equal_weights(four):
    assert all(said['weights'] == four[0]['weights'] for said in four)


def test_every_micro_batch_of_every_process_is_counted(four):
    """Of six batches the third and the sixth are the motivated model's, and distilled."""
    totals, macs = four[0]['totals'], four[0]['macs']
    for model, iters in (('base', 4), ('motivated', 2)):
        forward, backward = (Macs(*part) for part in macs[model][3 if model == 'motivated' else 1])
        passes, images = iters * 4 * 2, iters * 4 * BATCH
        trained = totals[model]
        assert (trained['iters'], trained['images']) == (iters, images)
        assert trained['forward_flops'] == forward.flops(passes, images)
        assert trained['backward_flops'] == backward.flops(passes, images)
    assert totals['distilled']['images'] == 2 * 4 * BATCH
