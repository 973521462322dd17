"""The command, as a user calls it."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch

from motivation.export.deployable import Deployable
from motivation.export.finished_run import FinishedRun
from tests.export.recorded import Recorded
from tests.tools.call import call_here


@pytest.fixture(scope='module')
def run(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp('tool') / 'run'
    shutil.copytree(finished, folder)
    Recorded.known = torch.cat([batch['inputs'] for batch in FinishedRun.open(folder).validation()])
    return folder


def test_both_models_are_exported_measured_and_shown_in_one_table(run, tmp_path):
    (tmp_path / 'out/base').mkdir(parents=True)
    (tmp_path / 'out/base/model.bin').write_bytes(b'')
    (tmp_path / 'out/base/model.bin.parity.json').write_text('{"made_from": "ab12"}')
    done = call_here('export.py', run, '--formats', 'recorded', '--int8', '--out', tmp_path / 'out')
    assert done.returncode == 0, done.stderr
    for pattern in (
        r'base: model\.npz is written, [\d.]+ s\n',
        r'motivated: 2 files compared on 120 images, [\d.]+ s\n',
        r'\nbase: of other weights, from an earlier export: model\.bin; replace with --overwrite\n',
        r'\nbase +\n  model\.npz +[\d,]+ +0\.0e\+00 +100\.00 .*\n  model_int8\.npz .*\n',
        r'motivated: 308,074 parameters, 3\.034 MMACs an image, top-1 in PyTorch [\d.]+ %',
    ):
        assert re.search(pattern, done.stdout), done.stdout
    again = call_here('export.py', run, '--formats', 'recorded', '--out', tmp_path / 'out')
    assert again.returncode == 2 and 'exists; give --overwrite' in again.stderr


def test_refused_file_is_exit_status_1(run, tmp_path, monkeypatch):
    monkeypatch.setattr(Recorded, 'change', staticmethod(lambda logits: logits * 1.01))
    done = call_here('export.py', run / 'base.pth', '--formats', 'recorded', '--out', tmp_path / 'out')
    assert done.returncode == 1 and done.stderr == ''
    assert (
        re.search(r'\n  model\.npz +refused +1\.0e-02 ', done.stdout)
        and 'differs from PyTorch by 1.0e-02 of the largest logit' in done.stdout
    )
    assert not (tmp_path / 'out/base/model.npz').exists()


@pytest.mark.parametrize(
    ('arguments', 'problem'),
    [
        (['nowhere'], "'nowhere' does not exist; give the work_dir of a run"),
        (['RUN', '--formats', 'recorderd'], "formats names 'recorderd', which is not a format; did you mean 'recorded'"),
        (['RUN', '--formats', 'absent'], "format 'absent' needs no-such-package; install with"),
        (['RUN', '--formats', 'recorded', '--models', 'larger'], "has no model 'larger'; it has base, motivated"),
        (['RUN', '--formats', 'recorded', '--images', '0'], 'images must be at least 1, got 0'),
        (['RUN', '--formats', 'recorded', '--push', 'alone'], "--push must be OWNER/NAME, got 'alone'"),
        (['RUN', '--formats', 'recorded', '--cfg-options', 'val_dataloader.dataset.split=dev'], "'train' or 'test', got 'dev'"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_sentence_and_exit_status_2(run, arguments, problem):
    done = call_here('export.py', *[str(run) if argument == 'RUN' else argument for argument in arguments])
    assert done.returncode == 2 and problem in done.stderr and done.stderr.count('\n') == 1
    assert not (run / 'exported').exists()


def test_program_of_torch_is_exported_from_a_checkpoint_and_runs_without_this_framework(run):
    done = call_here('export.py', run / 'epoch_1.pth', '--formats', 'torch', '--models', 'base')
    assert done.returncode == 0, done.stderr
    folder = run / 'epoch_1/exported/base'
    report = json.loads((folder / 'model.pt2.parity.json').read_text())
    assert report['accepted'] and report['largest_difference'] < 1e-6 and report['equal_top1'] == 1
    deployable = Deployable.load(run / 'base.pth')
    images = deployable.inputs(Recorded.known)
    with torch.no_grad():
        logits = torch.export.load(os.fspath(folder / 'model.pt2')).module()(images)
        assert torch.allclose(logits, deployable.network()(images), atol=1e-5)
    assert json.loads(Path(folder / 'description.json').read_text())['classes'] == [str(digit) for digit in range(10)]
