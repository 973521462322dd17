"""Runs on a Ray cluster of two nodes, with a trainer that does what its config says."""

import json
import sys
from contextlib import closing
from pathlib import Path

import pytest

from motivation.errors import ConfigError
from motivation.executors.executor import RunRequest
from motivation.executors.ray_executor import RayExecutor
from tests.executors.ray_cluster import is_alive, kill_worker, process_of, ray_cluster, wait_until

pytest.importorskip('ray')

TRAINER = """
import json, os, signal, sys, time
from pathlib import Path
folder = Path(sys.argv[sys.argv.index('--work-dir') + 1])
behaviour = Path(sys.argv[1]).read_text()
names = ('MARK', 'OMP_NUM_THREADS', 'CUDA_VISIBLE_DEVICES')
print(json.dumps({'arguments': sys.argv[1:], 'cwd': os.getcwd(), **{name: os.environ.get(name) for name in names}}))
sys.stdout.flush()
def save(*_):
    (folder / 'saved.txt').write_text('saved')
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
if 'fail' in behaviour:
    sys.exit('error: out of memory')
if 'read' in behaviour:
    (folder / 'logs').mkdir(exist_ok=True)
    (folder / 'logs' / f'{os.getpid()}.txt').write_text(Path('work/other/seed0/motivated.pth').read_text())
    (folder / 'gone.txt').unlink(missing_ok=True)
print('again' if (folder / 'epoch_1.pth').exists() else 'first', file=sys.stderr)
if 'wait' in behaviour and not (folder / 'epoch_1.pth').exists():
    (folder / '.part').write_bytes(b'x' * 20_000_001)
    (folder / '.part').replace(folder / 'epoch_1.pth')
    time.sleep(600)
(folder / 'report.json').write_text('{}')
"""


@pytest.fixture(scope='module')
def cluster():
    with ray_cluster() as made:
        yield made


def request(behaviour, name, reads=()):
    Path('trainer.py').write_text(TRAINER)
    folder = Path('work') / name / 'seed0'
    folder.mkdir(parents=True)
    config = Path('work/configs') / f'{name}.py'
    config.parent.mkdir(exist_ok=True)
    config.write_text(behaviour)
    return RunRequest(f'{name}_seed0', config, folder, reads)


def opened(cluster, **fields):
    executor = RayExecutor(address=cluster.address, **fields)
    executor.open(Path('trainer.py'), {'MARK': 'marked', **executor.environment()}, Path('work'))
    return closing(executor)


def said(run_request):
    return json.loads(next(line for line in run_request.output.read_text().splitlines() if line[0] == '{'))


def test_runs_where_the_work_dir_is_seen_wait_for_a_processor_fail_once_and_save_when_cancelled(cluster, monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS')
    bad, first, second, queued = (request(what, what) for what in ('fail', 'wait', 'wait longer', 'wait for ever'))
    with opened(cluster) as executor:
        runs = executor.submit([bad, first, second, queued])
        assert runs[0].wait().code == 1 and bad.output.read_text().count('error: out of memory') == 1
        wait_until(lambda: all((run.folder / 'epoch_1.pth').exists() for run in (first, second)))
        assert [run.poll() for run in runs[1:]] == [None] * 3 and not queued.output.exists()  # there are two CPUs
        cancel, lost = executor._ray.cancel, []
        monkeypatch.setattr(executor._ray, 'cancel', lambda task: cancel(task) if len(lost) == 2 else lost.append(task))
        for run in runs[1:]:
            run.cancel()
        assert [run.wait().code for run in runs[1:]] == [143, 143, -15]
    assert said(first) == {
        'arguments': ['work/configs/wait.py', '--work-dir', 'work/wait/seed0', '--resume', 'auto'],
        'cwd': str(Path.cwd()),
        'MARK': 'marked', 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '',
    }  # fmt: skip
    assert (first.folder / 'saved.txt').exists() and not list(Path('work').rglob('.ray*'))


def test_files_travel_to_a_node_that_does_not_see_them_and_a_retry_goes_on_from_the_newest_checkpoint(cluster):
    reads = Path('work/other/seed0')
    reads.mkdir(parents=True)
    (reads / 'motivated.pth').write_text('weights')
    (reads / 'epoch_9.pth').write_text('not needed')
    run_request = request('read wait', 'mine', (reads,))
    (run_request.folder / 'gone.txt').touch()
    node = Path('node').absolute()
    node.mkdir()
    with opened(cluster, directory='node') as executor:
        (run,) = executor.submit([run_request])
        wait_until((run_request.folder / 'epoch_1.pth').exists)
        there = node / run_request.folder
        assert run_request.output.exists() and not (node / reads / 'epoch_9.pth').exists()
        process = process_of(there)
        kill_worker(there)
        assert run.wait().code == 0 and not is_alive(process)
    output = run_request.output.read_text()
    assert said(run_request)['cwd'] == str(node) and [output.count(word) for word in ('first', 'again')] == [1, 1]
    assert (run_request.folder / 'epoch_1.pth').read_bytes() == b'x' * 20_000_001
    names = sorted(path.name for path in run_request.folder.iterdir())
    assert names == ['.lock', 'epoch_1.pth', 'logs', 'output.txt', 'report.json']
    assert [path.read_text() for path in (run_request.folder / 'logs').iterdir()] == ['weights'] * 2
    assert list(node.iterdir()) == []


def test_folder_of_a_node_that_is_no_copy_is_neither_used_nor_changed(cluster):
    run_request = request('good', 'mine')
    (Path('node') / run_request.folder).mkdir(parents=True)
    (Path('node') / run_request.folder / 'epoch_3.pth').touch()
    with opened(cluster, directory='node') as executor:
        outcome = executor.submit([run_request])[0].wait()
    assert outcome.code == 1 and 'has another folder' in outcome.reason and 'remove it there' in outcome.reason
    assert [path.name for path in (Path('node') / run_request.folder).iterdir()] == ['epoch_3.pth']


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        (dict(cpus=64), r'^a run asks for 64 CPU, which no node of the Ray cluster has; its nodes have 1 CPU, .* GB memory'),
        (dict(gpus=1, resources={'ssd': 2}), '^a run asks for 1 CPU, 1 GPU, 2 ssd, which no node'),
        (dict(memory=900), '^a run asks for 1 CPU, 900.0 GB memory, which no node'),
        (dict(directory='nowhere'), "^node .* of the Ray cluster has no folder '.*nowhere', in which runs would start"),
    ],
)  # fmt: skip
def test_what_no_node_can_do_is_refused_before_the_first_run(cluster, fields, message):
    with pytest.raises(ConfigError, match=message):
        opened(cluster, **fields)


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        (dict(memory='4GB'), "^memory must be a finite number or None, got '4GB'"),
        (dict(gpus=1.5), '^gpus must be a whole number or at most 1, got 1.5'),
        (dict(cpus=0), '^cpus must be above 0, got 0'),
    ],
)
def test_invalid_fields_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        RayExecutor(**fields)


def test_missing_package_and_unreachable_cluster_are_one_sentence(monkeypatch):
    with pytest.raises(
        ConfigError, match=r"^address '127.0.0.1:1' cannot be reached .*; start a cluster with 'ray start"
    ):
        RayExecutor(address='127.0.0.1:1').open(Path('trainer.py'), {}, Path())
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(ConfigError, match=r"^the executor 'ray' needs Ray.* pip install 'motivation\[ray\]'$"):
        RayExecutor().open(Path('trainer.py'), {}, Path())
