"""Formats at the end of training: whatever fails there, the run is complete, and its exit status says so."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from motivation.datasets import DigitsDataset
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError, TrainingError
from motivation.hooks import ExportHook
from tests.conftest import train
from tests.export.recorded import Absent, Recorded
from tests.small import small_config


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    source = DigitsDataset('test').source
    images = torch.stack([source[number * 360 // 40][0] for number in range(40)])
    monkeypatch.setattr(Recorded, 'known', images, raising=False)


def exporting(**options):
    return small_config('run', **{f'default_hooks.export.{name}': value for name, value in options.items()})


def test_models_and_their_averages_are_exported_and_measured_after_the_report():
    config = exporting(formats=['recorded'], int8=True, raw_input=True)
    config.model.ema = dict(decay=0.9)
    config.val_evaluator = [dict(type='Accuracy', topk=(1,))]
    train(config)
    for model in ('base', 'motivated', 'base_ema', 'motivated_ema'):
        report = json.loads(Path(f'run/exported/{model}/model.npz.parity.json').read_text())
        assert report['accepted'] and report['input'] == 'uint8'
        assert Path(f'run/exported/{model}/model_int8.npz').is_file()
    assert report['pytorch_accuracy_top1'] == pytest.approx(
        json.loads(Path('run/report.json').read_text())['motivated']['metrics']['ema/accuracy/top1']
    )


def test_failing_and_refused_files_are_named_at_the_end_of_a_complete_run(monkeypatch):
    monkeypatch.setattr(Recorded, 'change', staticmethod(lambda logits: logits.no_such_method()))
    with pytest.raises(
        TrainingError, match=re.escape("run' lacks exported/base/model.npz, exported/motivated/model.npz (the format")
    ):
        train(exporting(formats=['recorded']))
    for name in ('report.json', 'base.pth', 'motivated.pth', 'epoch_1.pth'):
        assert Path('run', name).is_file()
    monkeypatch.undo()


def test_data_that_are_gone_at_the_end_leave_the_run_complete(monkeypatch):
    def gone(self, count=None):
        raise FileNotFoundError(2, 'No such file', 'data')

    monkeypatch.setattr('motivation.export.finished_run.FinishedRun.validation', gone)
    with pytest.raises(
        TrainingError, match=r"run' lacks exported \(FileNotFoundError: .*motivation export .*run --overwrite' "
    ):
        train(exporting(formats=['recorded']))
    assert Path('run/report.json').is_file() and Path('run/base.pth').is_file()


@pytest.mark.parametrize(
    ('options', 'problem'),
    [
        (dict(formats=['onxx']), "default_hooks.export.formats names 'onxx', which is not a format"),
        (dict(formats=['absent']), "format 'absent' needs no-such-package"),
        (dict(formats=[], int8=True), 'default_hooks.export.int8 has no effect on no formats'),
        (dict(formats='onnx'), 'default_hooks.export.formats must be'),
    ],
)
def test_formats_that_cannot_be_written_are_an_error_before_training(options, problem):
    with pytest.raises(ConfigError, match=re.escape(problem)):
        DualModelRunner.from_cfg(exporting(**options))
    assert not Path('run/epoch_1.pth').exists()
    assert ExportHook().formats == {} and Absent.packages


def test_what_an_earlier_training_left_behind_is_named_and_kept(capsys):
    train(exporting(formats=['recorded']))
    description = Path('run/exported/base/description.json')
    before = description.read_text()
    digest = hashlib.sha256(Path('run/base.pth').read_bytes()).hexdigest()
    assert json.loads(before)['made_from'] == digest
    Path('run/cascade.json').write_text(json.dumps({'made_from': {'base': digest}}))
    shutil.rmtree('run/exported/motivated')
    Path('run/exported/motivated').mkdir()
    Path('run/exported/motivated/description.json').write_text('[' * 100_000)  # says nothing of its weights
    train(small_config('run', resume=True))  # nothing is left to train
    assert 'other weights' not in capsys.readouterr().out
    longer = small_config('run', epochs=2, resume=True)
    longer.allow_changes = True
    train(longer)
    said = capsys.readouterr().out
    log = max(Path('run').glob('*/*.log')).read_text()
    for sentence in (
        "run/exported/base' holds description.json, model.npz of other weights than the 'base.pth' of this run; replace with 'motivation export",
        "run/cascade.json' is of other weights than the models of this run; replace it with 'motivation cascade",
    ):
        assert said.count(sentence) == log.count(sentence) == 1
    assert said.count('of other weights') == 2 and description.read_text() == before
    Path('run/exported/base/model.bin').write_bytes(b'')  # of a format that is not exported again
    Path('run/exported/base/model.bin.parity.json').write_text(json.dumps({'made_from': digest}))
    again = small_config('run', epochs=2, resume=True, **{'default_hooks.export.formats': ['recorded']})
    again.allow_changes = True
    train(again)
    assert "run/exported/base' holds model.bin of other weights" in capsys.readouterr().out
    assert description.read_text() != before
