"""Which run gets which GPU; there is no GPU here: the answer of nvidia-smi is made up."""

import subprocess
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pytest

from motivation.executors.executor import Outcome, RunRequest
from motivation.executors.gpus import Gpu, GpuPool, read_gpus
from motivation.executors.local import LocalExecutor

ANSWER = 'GPU-aa, 100, 80000\nGPU-bb, 200, 80000\nGPU-cc, 0, 40000\n'
A, B, C = Gpu('GPU-aa', 100, 80000), Gpu('GPU-bb', 200, 80000), Gpu('GPU-cc', 0, 40000)


@pytest.mark.parametrize(
    ('visible', 'gpus'),
    [
        (None, [A, B, C]),
        ('', []),
        ('-1', []),
        ('2,0', [Gpu('2', 0, 40000), Gpu('0', 100, 80000)]),
        ('1,7,0', [Gpu('1', 200, 80000)]),  # as CUDA does
        ('GPU-bb', [B]),
        ('MIG-1/2', [Gpu('MIG-1/2', 0, 0)]),
    ],
)
def test_visible_gpus_are_those_that_the_environment_leaves(monkeypatch, visible, gpus):
    done = subprocess.CompletedProcess((), 0, ANSWER, '')
    monkeypatch.setattr('motivation.executors.gpus.subprocess.run', lambda *_, **__: done)
    assert read_gpus({} if visible is None else {'CUDA_VISIBLE_DEVICES': visible}) == gpus


def test_machine_without_gpus_has_none(monkeypatch):
    monkeypatch.setenv('PATH', '/nowhere')
    assert read_gpus({}) == []


@pytest.fixture
def memory(monkeypatch):
    """MiB in use on two GPUs of 1,000 MiB, which a test changes."""
    used = {'a': 100, 'b': 100}
    monkeypatch.setattr('motivation.executors.gpus.read_gpus', lambda: [Gpu(name, used[name], 1000) for name in used])
    monkeypatch.setattr('motivation.executors.local.read_gpus', lambda: [Gpu(name, used[name], 1000) for name in used])
    monkeypatch.setattr('motivation.executors.gpus._SECONDS', 0.0)
    return used


def test_run_gets_the_emptiest_gpu_and_shares_one_once_the_need_of_a_run_is_known(memory):
    pool = GpuPool([Gpu(name, 100, 1000) for name in memory])
    assert [pool.take(), pool.take()] == ['a', 'b']
    memory.update(a=400, b=350)
    pool.watch()
    assert pool.take() is None  # neither has ended, and may need more
    pool.give_back('a')
    memory.update(a=100)
    assert pool.take() == 'a'
    # The largest needed 300: on b, 650 MiB are free, of which one run needs 360. On a, its run will need 300.
    assert pool.take() in ('a', 'b') and pool.take() in ('a', 'b')
    assert pool.take() is None  # 1000 - 100 - 2 * 300 = 300 < 360


def test_largest_need_of_runs_that_share_decides(memory):
    pool = GpuPool([Gpu('a', 100, 1000)])
    memory.pop('b')
    assert pool.take() == 'a'
    memory.update(a=600)
    pool.watch()
    pool.give_back('a')
    memory.update(a=100)
    assert pool.take() == 'a' and pool.take() is None  # 500 for the first, and 400 < 600 are left


class Launcher:
    """Starts nothing; a test ends the processes."""

    started: ClassVar[list] = []

    def __init__(self, script, environment):
        self.environment = environment

    def start(self, arguments, output):
        self.code = None
        process = Launcher(None, self.environment)
        Launcher.started.append(process)
        process.code = None
        return process

    def poll(self):
        return self.code

    def terminate(self):
        self.code = -15

    def wait(self):
        return self.code

    def close(self):
        pass


def test_local_executor_gives_each_run_a_gpu_and_the_others_wait(memory, monkeypatch):
    monkeypatch.setattr('motivation.executors.local.ProcessLauncher', Launcher)
    monkeypatch.setattr(Launcher, 'started', [])
    with closing(LocalExecutor()) as executor:
        assert executor.slots == 2
        executor.slots = 4
        executor.open(Path('train.py'), {'MARK': 'marked'}, Path())
        runs = executor.submit([RunRequest(str(number), Path('c'), Path(str(number))) for number in range(4)])
        assert [process.environment['CUDA_VISIBLE_DEVICES'] for process in Launcher.started] == ['a', 'b']
        assert [run.poll() for run in runs] == [None] * 4
        Launcher.started[1].code = 0
        assert runs[1].poll() == Outcome(0)
        runs[2].poll()
        assert [process.environment['CUDA_VISIBLE_DEVICES'] for process in Launcher.started] == ['a', 'b', 'b']
        runs[3].cancel()
        assert runs[3].wait().reason == 'cancelled before it started'
        runs[0].cancel()
        assert runs[0].wait() == Outcome(-15) and len(Launcher.started) == 3
