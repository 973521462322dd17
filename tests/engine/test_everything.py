"""All features of the engine at once, in four processes as on two machines."""

import json
from pathlib import Path

import pytest

from motivation.compute.macs import Macs
from motivation.utils.checkpoint import read_checkpoint
from tests.conftest import ROOT
from tests.engine.forked_processes import forks

SCRIPT = ROOT / 'tests/engine/everything_runs.py'
PROCESSES, BATCH, BATCHES = 4, 5, 8


def run(folder, name, stop_after=0):
    forks(2, 2, SCRIPT, folder / name, stop_after)
    return [json.loads(Path(folder, f'{name}.{rank}.json').read_text()) for rank in range(PROCESSES)]


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Return the folder, and what every process says of a run, one that is stopped, and the stopped one resumed."""
    folder = tmp_path_factory.mktemp('everything')
    return folder, run(folder, 'whole'), run(folder, 'stopped', stop_after=6), run(folder, 'stopped')


def test_stopped_run_resumes_bit_for_bit(runs):
    """A signal to one process stops all within an epoch."""
    folder, whole, stopped, resumed = runs
    assert [said['status'] for said in stopped] == [143] * PROCESSES
    assert whole[0]['totals'] != stopped[0]['totals']
    assert whole == resumed
    ends = [read_checkpoint(folder / name / 'epoch_2.pth') for name in ('whole', 'stopped')]
    assert (folder / 'stopped/epoch_2_iter_6.pth').exists() or (folder / 'whole/epoch_2.pth').exists()
    for part in ('state_dict', 'averages'):
        for name, value in ends[0][part].items():
            assert str(value) == str(ends[1][part][name]), (part, name)


def test_processes_end_with_equal_weights(runs):
    _, whole, _, _ = runs
    assert all(said['weights'] == whole[0]['weights'] for said in whole)


def test_every_micro_batch_of_every_process_is_counted(runs):
    """Of eight batches the third and the sixth are the motivated model's, and distilled."""
    _, whole, _, _ = runs
    totals, macs = whole[0]['totals'], whole[0]['macs']
    for model, iters in (('base', 6), ('motivated', 2)):
        forward, backward = (Macs(*part) for part in macs[model][3 if model == 'motivated' else 1])
        passes, images = iters * PROCESSES * 2, iters * PROCESSES * BATCH
        trained = totals['trained'][model]
        assert (trained['iters'], trained['images']) == (iters, images)
        assert trained['forward_flops'] == forward.flops(passes, images)
        assert trained['backward_flops'] == backward.flops(passes, images)
    assert totals['distilled']['images'] == 2 * PROCESSES * BATCH
