"""Runs as Slurm jobs, with fake programs of Slurm and a fake trainer that waits for a file."""

import json
import os
import re
import signal
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from mmengine.config import Config

from motivation.comparison.arms import plan_arms
from motivation.comparison.jobs import Job, run_jobs
from motivation.errors import ConfigError
from motivation.executors.executor import RunRequest
from motivation.executors.slurm import SlurmExecutor
from tests.executors.fake_slurm import install

pytest.importorskip('submitit')

TRAINER = """
import os, signal, sys, time
from pathlib import Path
folder, asked = Path(sys.argv[sys.argv.index('--work-dir') + 1]), []
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, lambda number, frame: asked.append(number))
with (folder / 'starts.txt').open('a') as file:
    file.write(f'{os.getpid()} {os.environ["MARK"]}\\n')
while not asked and not Path('go').exists():
    time.sleep(0.02)
if asked:
    (folder / 'saved.txt').write_text(signal.Signals(asked[0]).name)
    sys.exit(0 if asked[0] == signal.SIGUSR1 else 143)
(folder / 'report.json').write_text('{}')
"""


@pytest.fixture
def slurm(monkeypatch):
    """The folder of the fake programs, and a trainer."""
    monkeypatch.setattr('motivation.executors.slurm_run._GRACE', 0.0)
    monkeypatch.setattr('motivation.executors.slurm._SECONDS', 0.2)
    folder = install(Path.cwd() / 'fake_slurm')
    monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
    Path('trainer.py').write_text(TRAINER)
    return folder


@contextmanager
def opened(**fields):
    with closing(SlurmExecutor(**fields)) as executor:
        executor.open(Path('trainer.py'), {'MARK': 'marked'}, Path())
        yield executor


def request(name='run'):
    Path(name).mkdir(exist_ok=True)
    return RunRequest(name, Path('c'), Path(name))


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def starts(name='run'):
    file = Path(name, 'starts.txt')
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def end(run):
    """Let the trainer finish, and return how the run has ended."""
    Path('go').touch()
    wait_for(lambda: run.poll() is not None)
    return run.poll()


def test_what_is_ready_together_is_one_array_and_a_control_starts_with_the_end_of_its_reference(slurm):
    arms = plan_arms(['consecutive', 'matched', 'never'], Config(dict()))
    jobs = [Job(arm, 0, Path(arm.folder)) for arm in arms]
    Path('go').touch()
    with opened(cpus=3, hours=2, memory=1.5, partition='gpu', gpus=2, parameters={'qos': 'high'}) as executor:
        run_jobs(jobs, executor, lambda job: Path('c'), lambda job: None, lambda: None)
    assert [job.status for job in jobs] == ['finished'] * 3
    assert json.loads(Path('slurm/jobs.json').read_text()) == {
        str(Path(name).resolve()): job for name, job in (('consecutive', '1_0'), ('never', '1_1'), ('matched', '2'))
    }
    asked = (slurm / 'sbatch.txt').read_text()
    for option in (
        'array=0-1%2', 'cpus-per-task=3', 'time=120', 'mem=1536MB', 'partition=gpu', 'gpus-per-node=2', 'qos=high',
        'signal=USR2@120',
    ):  # fmt: skip
        assert re.search(rf'^#SBATCH --{option}$', asked, flags=re.M), option
    assert all(len(starts(job.folder)) == 1 and starts(job.folder)[0][1] == 'marked' for job in jobs)


def test_warned_run_saves_and_goes_on_in_the_requeued_job(slurm):
    with opened() as executor:
        (run,) = executor.submit([request()])
        wait_for(starts)
        os.kill(int((slurm / '1.pid').read_text()), signal.SIGUSR2)
        wait_for(lambda: len(starts()) == 2)
        assert Path('run/saved.txt').read_text() == 'SIGUSR1'
        assert end(run).code == 0
    assert (slurm / 'sbatch.txt').read_text().count('#!/bin/bash') == 1 and len(starts()) == 2


def kill(slurm, job, state):
    """End a job as Slurm does: all of its processes at once."""
    (slurm / f'{job}.state').write_text(state)
    for pid in (int(starts()[-1][0]), int((slurm / f'{job}.pid').read_text())):
        os.kill(pid, signal.SIGKILL)


def test_killed_run_goes_on_in_another_job_until_its_retries_are_used_up(slurm):
    with opened(retries=1) as executor:
        (run,) = executor.submit([request()])
        for job, state in ((1, 'NODE_FAIL'), (2, 'OUT_OF_MEMORY')):
            wait_for(lambda job=job: run.poll() or len(starts()) == job)
            kill(slurm, job, state)
        wait_for(lambda: run.poll() is not None)
        outcome = run.poll()
    assert (outcome.code, outcome.reason) == (1, 'Slurm ended its job (OUT_OF_MEMORY), after 1 retries')
    assert len(starts()) == 2


def test_cancelled_runs_save_and_end(slurm):
    with opened() as executor:
        runs = executor.submit([request('one'), request('two')])
        wait_for(lambda: starts('one') and starts('two'))
        for run in runs:
            run.cancel()
        assert [run.wait().code for run in runs] == [143, 143]
    assert [Path(name, 'saved.txt').read_text() for name in ('one', 'two')] == ['SIGTERM'] * 2


def test_called_again_it_follows_the_jobs_of_a_comparison_that_was_killed(slurm):
    with opened() as executor:
        assert executor.find(request('one')) is None
        executor.submit([request('one'), request('two')])
        wait_for(lambda: starts('one') and starts('two'))
    asked = (slurm / 'sacct.txt').read_text().count('called') if (slurm / 'sacct.txt').exists() else 0
    with opened() as executor:
        runs = [executor.find(request(name)) for name in ('one', 'two')]
        assert (slurm / 'sacct.txt').read_text().count('called') == asked + 1
        assert executor.find(request('three')) is None
        assert [end(run).code for run in runs] == [0, 0]
    assert len(starts('one')) == len(starts('two')) == 1


def test_refusal_of_slurm_is_one_sentence(slurm):
    with (
        opened(partition='wrong') as executor,
        pytest.raises(ConfigError, match=r'^sbatch refuses the runs: sbatch: err.*Invalid'),
    ):
        executor.submit([request()])


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({'qoss': 'high'}, "parameters has 'qoss'; did you mean 'qos'"),
        ({'time': 5}, "'time', which a field of slurm sets"),
    ],
)
def test_unknown_parameter_is_refused_before_anything_is_submitted(slurm, parameters, message):
    with pytest.raises(ConfigError, match=message), opened(parameters=parameters):
        pass


def test_missing_submitit_or_slurm_is_one_sentence(monkeypatch):
    monkeypatch.setenv('PATH', '/nowhere')
    with pytest.raises(ConfigError, match=r'needs sbatch, srun, .*call it on a login node'), opened():
        pass
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with (
        pytest.raises(ConfigError, match=r"needs submitit, which is not installed: pip install 'motivation\[slurm\]'"),
        opened(),
    ):
        pass


def test_run_on_this_machine_that_ends_between_two_looks_is_not_run_again(slurm, monkeypatch):
    monkeypatch.setattr('motivation.executors.slurm._SECONDS', 3.0)
    Path('go').touch()
    with opened(cluster='local') as executor:
        (run,) = executor.submit([request()])
        assert run.wait().code == 0
    assert len(Path('run/starts.txt').read_text().splitlines()) == 1
