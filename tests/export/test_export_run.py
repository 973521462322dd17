"""What an export writes, and what it puts aside."""

import json
import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from motivation.checkpoint_models import open_run
from motivation.errors import ArgumentError, ConfigError
from motivation.export.deployable import Deployable
from motivation.export.export_run import ExportSettings, export_run
from motivation.export.exported_model import load_exported
from motivation.export.finished_run import FinishedRun
from motivation.export.formats import choose_formats
from motivation.export.parity_table import parity_table
from tests.export.recorded import Recorded, RecordedInt8


@pytest.fixture(scope='module')
def run(finished):
    run = FinishedRun.open(finished)
    Recorded.known = torch.cat([batch['inputs'] for batch in run.validation()])
    return run


@pytest.fixture(scope='module')
def expected(run):
    """Logits and targets of the base model on the validation images."""
    deployable = Deployable.load(run.models['base'])
    with torch.no_grad():
        logits = deployable.network()(deployable.inputs(Recorded.known)).numpy()
    return logits, torch.cat([batch['targets'] for batch in run.validation()]).numpy()


def export(run, out, names=('recorded',), int8=False, **settings):
    said = []
    files = export_run(run, ['base'], choose_formats(names, int8)[0], out, ExportSettings(**settings), said.append)
    return files, said


def test_report_has_the_values_of_the_file_and_of_pytorch(run, expected, tmp_path):
    (file, quantised), said = export(run, tmp_path, int8=True, calibration_images=10)
    logits, targets = expected
    rounded = np.round(logits)
    assert sorted(path.name for path in (tmp_path / 'base').iterdir()) == [
        'README.md', 'config.json', 'description.json', 'model.npz', 'model.npz.parity.json', 'model_int8.npz',
        'model_int8.npz.parity.json',
    ]  # fmt: skip
    report = json.loads((tmp_path / 'base/model.npz.parity.json').read_text())
    accuracy = 100 * (logits.argmax(1) == targets).mean()
    values = {
        'format': 'recorded', 'input': 'normalised', 'int8': False, 'images': 120, 'largest_difference': 0.0,
        'equal_top1': 1.0, 'accuracy_top1': accuracy, 'pytorch_accuracy_top1': accuracy, 'parameters': 77754,
        'macs': 763520, 'batch_size': 40, 'threads': 1, 'tolerance': 1e-4, 'largest_drop': None, 'accepted': True,
        'reason': None, 'bytes': (tmp_path / 'base/model.npz').stat().st_size + 2,
    }  # fmt: skip
    assert {name: report[name] for name in values} == pytest.approx(values)
    assert 0 < report['latency_ms_batch_1'] < report['latency_ms_batch'] and report['peak_memory_bytes'] > 2**23
    assert run.report['base']['metrics']['accuracy/top1'] == pytest.approx(accuracy)
    parity = quantised.parity
    assert parity.largest_difference == pytest.approx(np.abs(rounded - logits).max() / np.abs(logits).max())
    assert parity.equal_top1 == pytest.approx((rounded.argmax(1) == logits.argmax(1)).mean())
    assert parity.accuracy_top1 == pytest.approx(100 * (rounded.argmax(1) == targets).mean())
    assert torch.equal(RecordedInt8.calibrated[-1], run.training_images(10))
    description = json.loads((tmp_path / 'base/description.json').read_text())
    assert description['model'] == 'base' and description['input_size'] == [1, 8, 8]
    assert said[-1].startswith('base: 2 files compared on 120 images')
    assert 'model_int8.npz' in [*parity_table([file, quantised]).columns[0].cells][2]


@pytest.mark.parametrize(
    ('change', 'fault', 'problem'),
    [
        (lambda logits: logits + 0.1 * np.abs(logits).max(), '', 'differs from PyTorch by 1.0e-01 of the largest logit'),
        (lambda logits: np.where(logits == logits.max(), np.nan, logits), '', 'gives logits that are not finite'),
        (lambda logits: logits[:, :5], '', 'gives 5 logits for an image, and PyTorch 10'),
        (lambda logits: logits, 'single nan', 'gives logits that are not finite for a single image'),
        (lambda logits: logits, 'single 100', 'differs from PyTorch by '),
        (lambda logits: logits, 'segfault', 'does not run: its process ended with signal SIGSEGV'),
    ],
)  # fmt: skip
def test_file_that_disagrees_is_put_aside_with_the_reason(run, tmp_path, monkeypatch, change, fault, problem):
    export(run, tmp_path)
    monkeypatch.setattr(Recorded, 'change', staticmethod(change))
    monkeypatch.setattr(Recorded, 'fault', fault)
    (file,), said = export(run, tmp_path, overwrite=True)
    assert file.problem.startswith(problem) and f'model.npz is refused, because it {problem}' in said[1]
    names = {path.name for path in (tmp_path / 'base').iterdir()}
    assert names == {'README.md', 'config.json', 'description.json', 'model.npz.refused', 'model.npz.parity.json'}
    report = json.loads((tmp_path / 'base/model.npz.parity.json').read_text())
    assert (report['accepted'], report['reason']) == (False, file.problem)
    assert problem in str(parity_table([file]).caption)


def test_quantised_file_is_refused_only_for_what_its_accuracy_loses(run, expected, tmp_path, monkeypatch):
    logits, targets = expected
    monkeypatch.setattr(RecordedInt8, 'change', staticmethod(lambda logits: -logits))
    drop = 100 * ((logits.argmax(1) == targets).mean() - (logits.argmin(1) == targets).mean())
    allowed = max(0.0, drop)
    (file,), _ = export(run, tmp_path / 'allowed', ['recorded_int8'], largest_drop=allowed)
    assert file.problem is None and file.parity.largest_difference == pytest.approx(2)
    if drop > 1:
        (file,), _ = export(run, tmp_path / 'refused', ['recorded_int8'], largest_drop=drop - 1)
        assert file.problem == f'loses {drop:.1f} points of accuracy, more than {drop - 1:g}'


def test_quantised_file_that_is_wrong_for_a_single_image_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr(RecordedInt8, 'fault', 'single 100')
    (file,), _ = export(run, tmp_path, ['recorded_int8'], largest_drop=100)
    assert re.match(
        r'differs by \S+ of the largest logit between a single image and a batch, more than 0.1$', file.problem
    )


def test_raw_images_are_what_a_file_takes_and_is_compared_on(run, tmp_path):
    (file,), _ = export(run, tmp_path, raw_input=True)
    assert file.problem is None and file.parity.input == 'uint8' and file.parity.largest_difference == 0


def test_format_that_fails_on_a_model_leaves_the_others_and_what_was_there(run, tmp_path, monkeypatch):
    export(run, tmp_path, int8=True)
    before = (tmp_path / 'base/model.npz').read_bytes()
    monkeypatch.setattr(Recorded, 'change', staticmethod(lambda logits: logits.no_such_method()))
    (failed, quantised), said = export(run, tmp_path, int8=True, overwrite=True)
    assert failed.problem.startswith("the format fails on this model: AttributeError: 'numpy.ndarray' object has no")
    assert quantised.problem is None and said[0] == f'base: model.npz is not written: {failed.problem}'
    assert (tmp_path / 'base/model.npz').read_bytes() == before and not (tmp_path / 'base/.part').exists()


class Broken(Recorded):
    """A format of a package that is installed and cannot be imported."""

    packages: ClassVar[dict[str, str]] = {'broken_module': 'broken-package'}


class Silent(Recorded):
    """A format that writes nothing."""

    def export(self, deployable, images, path):
        pass


class Talkative(Recorded):
    """A format whose error has the path of the file."""

    def export(self, deployable, images, path):
        raise ConfigError(f"'{path}' is too large")


@pytest.mark.parametrize(
    ('exporter', 'problem'),
    [
        (
            Broken,
            r"^broken_module cannot be imported \(ImportError: no lib.*\); install it again with 'pip install "
            r"--force-reinstall broken-package'$",
        ),
        (Silent, '^the format wrote no file$'),
        (Talkative, r"^'model\.npz' is too large$"),
    ],
)
def test_file_that_is_not_written_has_a_reason_of_its_own(run, tmp_path, monkeypatch, exporter, problem):
    (tmp_path / 'broken_module.py').write_text("raise ImportError('no lib')")
    monkeypatch.syspath_prepend(tmp_path)
    said = []
    (file,) = export_run(run, ['base'], {'recorded': exporter}, tmp_path / 'out', announce=said.append)
    assert re.search(problem, file.problem) and said == [f'base: model.npz is not written: {file.problem}']
    table = parity_table([file])
    assert table.title == 'Exported files beside PyTorch: none could be compared'
    assert [str(column.header) for column in table.columns][-2] == 'ms at\nbatch'


def test_nothing_is_overwritten_unless_asked_for(run, tmp_path):
    export(run, tmp_path)
    before = (tmp_path / 'base/model.npz').stat().st_mtime_ns
    with pytest.raises(ConfigError, match=r"base/model\.npz' exists; give --overwrite"):
        export(run, tmp_path)
    assert (tmp_path / 'base/model.npz').stat().st_mtime_ns == before


def test_formats_and_models_that_do_not_exist_are_named(run, tmp_path):
    for names, int8, problem in (
        (['recordet'], False, "^formats names 'recordet', which is not a format; did you mean 'recorded'"),
        (['absent'], False, "^format 'absent' needs no-such-package; install with 'pip install no-such-package'"),
        ([], True, '^int8 has no effect on no formats; '),
    ):
        with pytest.raises(ConfigError, match=problem):
            choose_formats(names, int8)
    chosen, left_out = choose_formats()
    assert 'absent' not in chosen and 'recorded' in chosen and 'recorded_int8' not in chosen
    assert any("left out: format 'absent' needs no-such-package" in sentence for sentence in left_out)
    with pytest.raises(ConfigError, match=r'has no model .larger.; it has base, motivated, base_ema, '):
        export_run(run, ['larger'], chosen, tmp_path)
    with pytest.raises(ArgumentError, match=r'^images must be at least 1, got 0'):
        ExportSettings(images=0)


def test_models_of_a_checkpoint_are_those_that_the_run_exported(finished, tmp_path):
    copy = tmp_path / 'run'
    shutil.copytree(finished, copy)
    run = open_run(copy / 'epoch_1.pth')
    assert (run.folder, run.checkpoint) == (copy / 'epoch_1', copy / 'epoch_1.pth')
    assert [*run.models] == ['base', 'motivated', 'base_ema', 'motivated_ema']
    for name, path in run.models.items():
        before, after = load_exported(finished / f'{name}.pth'), load_exported(path)
        assert before.metainfo == after.metainfo
        weights = after.state_dict()
        assert all(torch.equal(value, weights[key]) for key, value in before.state_dict().items()), name
    assert run.count_validation() == 120


class Crafted:
    """A pickle that runs code where it is loaded."""

    def __reduce__(self):
        return Path.touch, (Path('executed'),)


def test_crafted_or_truncated_model_is_refused_in_one_sentence_and_not_run(run, tmp_path):
    torch.save({'state_dict': {}, 'config': Crafted()}, tmp_path / 'crafted.pth', pickle_module=pickle)
    content = run.models['base'].read_bytes()
    (tmp_path / 'truncated.pth').write_bytes(content[: len(content) // 2])
    for name, problem in (('crafted', 'has more than plain data'), ('truncated', 'is damaged or not a checkpoint')):
        with pytest.raises(ConfigError, match=problem):
            export(replace(run, models={'base': tmp_path / f'{name}.pth'}), tmp_path / 'out')
    assert not Path('executed').exists()
