"""Runs of a comparison at MLflow and Weights & Biases, read back with what they wrote."""

import ast
import json
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from motivation.comparison.compare import Comparison
from motivation.comparison.output.tracking import RunTracker
from motivation.engine.loggers.mlflow_backend import MLflowVisBackend
from motivation.errors import ConfigError
from tests.comparison.test_results import compare, write_report
from tests.conftest import DIGITS, ROOT
from tests.engine.loggers.test_trackers import records
from tests.forked import run_forked

mlflow = pytest.importorskip('mlflow')
pytest.importorskip('wandb')

# In a process that the threads and the service of wandb end with: two runs, written three times, with another number of the
# first run at the last time.
WRITE = f"""
import os, sys
os.chdir(sys.argv[1])
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from mmengine.config import Config
from motivation.comparison.output.tracking import RunTracker
from tests.comparison.test_results import compare

comparison = compare(('consecutive',), failed={{('consecutive', 2)}})
trackers = [RunTracker(name, Config(dict()), Path('study')) for name in ('mlflow', 'wandb')]
for more in (0, 0, 1):
    comparison['arms'][0]['runs'][0]['base'] += more
    for tracker in trackers:
        print(repr(tracker.write(comparison)))
"""


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """The folder of the comparison, and what each writing returned."""
    folder = tmp_path_factory.mktemp('tracked')
    (folder / 'write.py').write_text(WRITE)
    own = {'WANDB_MODE': 'offline', 'WANDB_PROJECT': 'digits', 'MLFLOW_ALLOW_FILE_STORE': 'true'}
    (done,) = run_forked(folder / 'write.py', folder, environments=[own])
    assert done.returncode == 0, done.stderr
    return folder, [ast.literal_eval(line) for line in done.stdout.splitlines()]


def test_mlflow_has_one_run_for_each_finished_run_and_updates_it(written, monkeypatch):
    folder, said = written
    assert said == [''] * 6
    monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
    client = mlflow.MlflowClient((folder / 'study/mlruns').as_uri())
    runs = client.search_runs([client.get_experiment_by_name('study').experiment_id])
    by_seed = {run.data.params['seed']: run for run in runs}
    assert len(runs) == 2 and sorted(by_seed) == ['0', '1']
    first, second = by_seed['0'], by_seed['1']
    assert first.info.run_name == 'consecutive, seed 0' and first.info.status == 'FINISHED'
    assert first.data.params['arm'] == first.data.tags['arm'] == 'consecutive'
    assert (first.data.metrics['report/base'], second.data.metrics['report/base']) == (54, 53)
    assert (first.data.metrics['report/total_train_flops'], first.data.metrics['report/motivated']) == (160, 58)
    assert first.data.tags['report.status'] == 'finished' and first.data.tags['report.metric'] == 'accuracy/top1'
    written_at = [len(client.get_metric_history(run.info.run_id, 'report/base')) for run in (first, second)]
    assert written_at == [2, 1]  # what has not changed is not written again


def test_wandb_has_one_run_for_each_finished_run_and_updates_it(written):
    folder, _ = written
    summaries, runs, configs = {}, {}, {}
    for file in sorted(folder.glob('study/wandb/offline-run-*/*.wandb')):
        group = list(records(file))
        (run,) = {record.run.run_id: record.run for record in group if record.HasField('run')}.values()
        for item in (item for record in group if record.HasField('summary') for item in record.summary.update):
            summaries.setdefault(run.run_id, []).append((item.key, item.value_json))
        for item in (item for record in group if record.HasField('config') for item in record.config.update):
            configs.setdefault(run.run_id, {})[item.key] = json.loads(item.value_json)
        runs.setdefault(run.run_id, []).append(run)
    assert sorted(map(len, runs.values())) == [1, 2]
    for identifier, own in runs.items():
        config = configs[identifier]
        base = [float(value) for name, value in summaries[identifier] if name == 'report/base']
        assert base[-1] == {0: 54, 1: 53}[config['seed']] and config['arm'] == 'consecutive'
        assert {(run.project, run.run_group, run.display_name) for run in own} == {
            ('digits', 'study', f'consecutive, seed {config["seed"]}')
        }


def test_server_that_fails_is_said_in_one_sentence_and_gets_no_more_runs(monkeypatch):
    begun = []

    def refuse(*arguments):
        begun.append(arguments)
        raise ConnectionError('refused')

    tracker = RunTracker('mlflow', Config(dict()), Path('study'))
    monkeypatch.setattr(MLflowVisBackend, '_begin', refuse)
    assert tracker.write(compare(('consecutive',))) == (
        "--track mlflow: ConnectionError: refused, at the run of 'consecutive' with seed 0; the files are complete, and the "
        'same command goes on with the runs that the tracker lacks'
    )
    assert len(begun) == 1


def test_files_are_written_where_a_tracker_fails(monkeypatch, capsys):
    planned = Comparison(DIGITS, Path('work'), arms=['never'], seeds=[0], trackers=['mlflow'])
    write_report(planned.jobs[0].folder, 50, None, 100, 0)
    planned.jobs[0].status = 'finished'
    monkeypatch.setattr(RunTracker, 'write', lambda *_: '--track mlflow: refused')
    assert not planned.write()
    assert capsys.readouterr().out.splitlines()[-1] == '--track mlflow: refused'
    assert {path.name for path in Path('work').glob('compare.*')} == {
        f'compare.{end}' for end in ('md', 'json', 'png', 'csv')
    }


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        (
            'wandb',
            r"^--track has wandb, and wandb cannot be imported \(.*\): run 'pip install wandb', or leave it out$",
        ),
        (
            'mlflow',
            r"^--track has mlflow, and mlflow-skinny cannot be imported \(.*\): run 'pip install mlflow-skinny'",
        ),
    ],
)
def test_missing_package_is_said_before_the_first_run(name, message, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=message):
        RunTracker(name, Config(dict()), Path('study'))


def test_nobody_logged_in_and_server_out_of_reach_are_said_before_the_first_run(monkeypatch):
    monkeypatch.delenv('WANDB_MODE', raising=False)
    monkeypatch.setattr('wandb.api', type('Api', (), {'api_key': None}))
    with pytest.raises(
        ConfigError, match=r"^--track has wandb, and nobody .* run 'wandb login', set WANDB_MODE=offline"
    ):
        RunTracker('wandb', Config(dict()), Path('study'))
    monkeypatch.setenv('MLFLOW_HTTP_REQUEST_MAX_RETRIES', '0')
    own = dict(type='MLflowVisBackend', tracking_uri='http://127.0.0.1:9')
    with pytest.raises(
        ConfigError, match=r"^--track has mlflow, whose server 'http://127\.0\.0\.1:9' cannot be reached"
    ):
        RunTracker('mlflow', Config(dict(visualizer=dict(vis_backends=[own]))), Path('study'))
