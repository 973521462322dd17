"""Runs logged to Weights & Biases and MLflow, read back with what they wrote."""

import json
import os
import random
import signal
import socket
import struct
import sys
import time

import numpy as np
import pytest
import torch

from motivation.engine.dry_run import CheckLoop
from motivation.engine.loggers import mlflow_backend
from motivation.engine.loggers.mlflow_backend import MLflowVisBackend
from motivation.engine.loggers.tracker import Tracker
from motivation.engine.loggers.wandb_backend import WandbVisBackend
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.registry import VISBACKENDS
from motivation.utils.interruption import Interrupted
from tests.conftest import ROOT, tiny_config, train
from tests.forked import run_forked

mlflow = pytest.importorskip('mlflow')
pytest.importorskip('wandb')

# In a process that the threads and the service of wandb end with: a run stopped in its second epoch, and resumed.
RUNS = f"""
import os, sys
os.chdir(sys.argv[1])
sys.path.insert(0, {str(ROOT)!r})
from motivation.engine.runner import DualModelRunner
from tests.conftest import tiny_config
from tests.engine.test_resuming import Stop

backends = [
    dict(type='WandbVisBackend', init_kwargs=dict(mode='offline', project='digits'), files=['report.md']),
    dict(type='MLflowVisBackend', exp_name='digits', tracking_uri='file:store', files=['report.md', 'none.txt']),
]
options = {{'train_dataloader.num_batch_per_epoch': 4, 'visualizer.vis_backends': [dict(type='LocalVisBackend'), *backends]}}
for stop in (6, None):
    config = tiny_config('run', epochs=2, **options)
    config.resume = stop is None
    runner = DualModelRunner.from_cfg(config)
    if stop:
        runner.register_hook(Stop(stop))
    try:
        runner.train()
    except InterruptedError:
        for backend in runner.visualizer._vis_backends.values():
            getattr(backend, '_abandon', lambda: None)()
"""


@pytest.fixture(scope='module')
def logged(tmp_path_factory):
    """The folder of a stopped and resumed run with both trackers, and what it said."""
    folder = tmp_path_factory.mktemp('logged')
    (folder / 'runs.py').write_text(RUNS)
    (done,) = run_forked(folder / 'runs.py', folder, environments=[{'WANDB_SILENT': 'true'}])
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def records(path):
    """Yield the records of an offline file of wandb: a header of 7 bytes, then LevelDB's log of blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = path.read_bytes(), 7, b''
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:  # too short for a header
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack('<HB', data[place + 4 : place + 7])
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or last
            yield Record.FromString(parts)
            parts = b''


def report_of(folder):
    return json.loads((folder / 'run/report.json').read_text())


def test_wandb_has_every_step_of_one_run(logged):
    """Two offline files of one id; the curves have the numbers of the batches, also after the resume."""
    folder, _ = logged
    files = sorted(folder.glob('run/*/vis_data/wandb/offline-run-*/*.wandb'))
    assert len(files) == 2 and len({file.name for file in files}) == 1
    (uploaded,) = folder.glob('run/*/vis_data/wandb/offline-run-*/files/report.md')
    assert not uploaded.is_symlink() and uploaded.read_text() == (folder / 'run/report.md').read_text()
    read = [list(records(file)) for file in files]
    runs = [record.run for group in read for record in group if record.HasField('run')]
    assert {run.project for run in runs} == {'digits'} and len({run.run_id for run in runs}) == 1
    steps, losses = [], {}
    for record in (record for group in read for record in group if record.HasField('history')):
        row = {item.key or '/'.join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        steps.append(row['batch'])
        if 'loss' in row:
            losses[row['batch']] = row['loss']
    lines = [json.loads(line) for line in next(folder.glob('run/*/vis_data/scalars.json')).read_text().splitlines()]
    assert losses == {line['step']: pytest.approx(line['loss']) for line in lines if 'loss' in line}
    assert sorted(losses) == [1, 2, 3, 4, 5, 6, 7, 8]
    summary = {}
    for record in (record for record in read[1] if record.HasField('summary')):
        for item in record.summary.update:
            summary[item.key or '/'.join(item.nested_key)] = json.loads(item.value_json)
    report = report_of(folder)
    assert summary['report/base/metrics/accuracy/top1'] == report['base']['metrics']['accuracy/top1']
    assert any(
        item.key == 'model' for record in read[0] if record.HasField('run') for item in record.run.config.update
    ) or (any(record.HasField('config') for record in read[0]))


def test_mlflow_has_every_step_of_one_run_once(logged, monkeypatch):
    folder, said = logged
    monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
    client = mlflow.MlflowClient((folder / 'store').as_uri())
    experiment = client.get_experiment_by_name('digits')
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == 'FINISHED' and run.info.run_name == 'run'
    lines = [json.loads(line) for line in next(folder.glob('run/*/vis_data/scalars.json')).read_text().splitlines()]
    history = [(entry.step, entry.value) for entry in client.get_metric_history(run.info.run_id, 'train/loss')]
    assert history == [(line['step'], pytest.approx(line['loss'])) for line in lines if 'loss' in line]
    scores = client.get_metric_history(run.info.run_id, 'base/accuracy/top1')
    assert [entry.step for entry in scores] == [4, 8]
    assert run.data.params['motivation.policy.drops'] == '2'
    report = report_of(folder)
    assert run.data.metrics['report/motivated/metrics/accuracy/top1'] == report['motivated']['metrics']['accuracy/top1']
    assert run.data.tags['report.policy'] == report['policy']
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {'config.py', 'report.md'}
    assert "MLflowVisBackend uploads no 'none.txt', which does not exist in" in said


@VISBACKENDS.register_module(force=True)
class Failing(Tracker):
    """A tracker whose service fails from the second entry on."""

    def __init__(self, save_dir, reachable=True):
        self._save_dir, self.files, self.reachable, self.written = save_dir, (), reachable, []

    experiment = None

    def _begin(self, identifier, config, text):
        if self.reachable == 'by and by':
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        if not self.reachable:
            raise ConnectionError('no route to host')
        random.random(), np.random.rand(), torch.rand(1)
        return identifier or 'mine'

    def _log(self, values, step):
        random.random(), np.random.rand(), torch.rand(1)
        if self.written:
            raise RuntimeError('quota exceeded')
        self.written.append(step)

    def _end(self, status):
        self.written.append(status)

    _log_image = _summarize = _upload = _end


def failing(work_dir, **arguments):
    backends = [dict(type='LocalVisBackend'), dict(type='Failing', **arguments)]
    return tiny_config(work_dir, epochs=1, **{'visualizer.vis_backends': backends})


def test_tracker_that_fails_does_not_end_the_training(tmp_path, capsys):
    runner = train(failing(tmp_path / 'run'))
    said = capsys.readouterr().out
    assert said.count('Failing fails (RuntimeError: quota exceeded) and gets no more entries; the run and its') == 1
    assert runner.iter == 6 and runner.visualizer.get_backend('Failing').written == [1]  # not even its end
    lines = next((tmp_path / 'run').glob('*/vis_data/scalars.json')).read_text().splitlines()
    assert len(lines) == 7


def test_tracker_that_draws_random_numbers_leaves_those_of_the_run(tmp_path):
    backend = Failing(str(tmp_path))
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    backend.open(print)
    backend.add_scalar('loss', 1.0, 1)
    backend.add_scalar('loss', 1.0, 2)  # which fails
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected


def test_tracker_that_cannot_begin_ends_the_run_before_training(tmp_path):
    runner = DualModelRunner.from_cfg(failing(tmp_path / 'run', reachable=False))
    with pytest.raises(
        ConfigError,
        match=r'^visualizer\.vis_backends has Failing, which cannot begin a run \(ConnectionError: no route',
    ):
        runner.train()
    assert runner.iter == 0


def test_signal_ends_a_run_that_waits_for_a_tracker(tmp_path, capfd):
    runner, begun = DualModelRunner.from_cfg(failing(tmp_path / 'run', reachable='by and by')), time.monotonic()
    with pytest.raises(Interrupted) as stopped:
        runner.train()
    assert stopped.value.code == 143 and runner.iter == 0 and time.monotonic() - begun < 20
    assert 'SIGTERM: stopped before the first batch' in capfd.readouterr().err


def test_mlflow_server_that_does_not_answer_is_given_up_soon(tmp_path, monkeypatch):
    """A port that accepts connections and answers none; MLflow's own patience is many minutes."""
    before = dict(os.environ)
    assert {int(value) for value in mlflow_backend._FIRST_CONTACT.values()} == {5, 1}  # 10 seconds
    monkeypatch.setitem(mlflow_backend._FIRST_CONTACT, 'MLFLOW_HTTP_REQUEST_TIMEOUT', '1')
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    with socket.create_server(('127.0.0.1', 0)) as server:
        address = f'http://127.0.0.1:{server.getsockname()[1]}'
        backend, begun = MLflowVisBackend(str(tmp_path), tracking_uri=address), time.monotonic()
        with pytest.raises(ConfigError, match=rf"cannot begin a run .*correct tracking_uri, which is '{address}'"):
            backend.open(print)
    assert time.monotonic() - begun < 5
    assert {name for name in os.environ if name.startswith('MLFLOW_HTTP')} <= before.keys()


def test_check_begins_no_run(tmp_path):
    config = failing(tmp_path / 'run', reachable=False)
    config.train_cfg.type = 'CheckLoop'
    runner = DualModelRunner.from_cfg(config)
    runner.train()
    assert isinstance(runner.train_loop, CheckLoop)


@pytest.mark.parametrize(
    ('kind', 'package', 'install'), [(WandbVisBackend, 'wandb', 'wandb'), (MLflowVisBackend, 'mlflow', 'mlflow-skinny')]
)
def test_missing_package_is_named(tmp_path, monkeypatch, kind, package, install):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ConfigError, match=rf"vis_backends has {kind.__name__}, and {install} .*'pip install {install}', or"
    ):
        kind(str(tmp_path))


def test_nobody_logged_in_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.delenv('WANDB_API_KEY', raising=False)
    monkeypatch.setenv('WANDB_MODE', 'online')
    with pytest.raises(ConfigError, match=r"nobody is logged in to wandb: run 'wandb login', write .*mode='offline'"):
        WandbVisBackend(str(tmp_path))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(project_='f'), r"^init_kwargs\.project_ is not an argument of wandb\.init; did you mean 'project'"),
        (dict(mode='oflin'), r"^init_kwargs\.mode must be 'online', .*, got 'oflin'; did you mean 'offline'"),
        (dict(settings=dict(console_='off')), r"^init_kwargs\.settings\.console_ is not a setting of wandb; did you mean 'console'"),
        (dict(settings=dict(init_timeout='x')), r"^init_kwargs\.settings is .*, which wandb refuses: .*; correct it$"),
    ],
)  # fmt: skip
def test_wrong_argument_of_wandb_is_refused_before_anything_is_started(tmp_path, arguments, message):
    with pytest.raises(ConfigError, match=message):
        WandbVisBackend(str(tmp_path), init_kwargs={'mode': 'offline', **arguments})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('mode', 'advice'), [('online', 'check the connection, .*offline'), ('offline', 'correct init_kw')]
)
def test_advice_about_wandb_is_none_that_was_followed(tmp_path, monkeypatch, mode, advice):
    monkeypatch.setenv('WANDB_API_KEY', '0' * 40)
    backend = WandbVisBackend(str(tmp_path), init_kwargs=dict(mode=mode))

    def refuse(**_):
        raise ConnectionError('refused')

    monkeypatch.setattr('wandb.init', refuse)
    with pytest.raises(ConfigError, match=rf'cannot begin a run \(ConnectionError: refused\); {advice}') as refused:
        backend.open(print)
    assert 'wandb login' not in str(refused.value)
