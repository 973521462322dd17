"""Scheduling of processes, with a fake trainer that does at once what its config says."""

import signal
import time
from contextlib import closing
from pathlib import Path

import pytest
from mmengine.config import Config

from motivation.comparison.arms import plan_arms
from motivation.comparison.executors import ForkExecutor, ProcessExecutor
from motivation.comparison.jobs import Job, is_finished, run_jobs
from motivation.errors import ConfigError

TRAINER = """
import os, sys, time
from pathlib import Path
folder = Path(sys.argv[sys.argv.index('--work-dir') + 1])
behaviour = Path(sys.argv[1]).read_text()
with open('order.txt', 'a') as order:
    order.write(f'begin {folder.name}\\n')
(folder / 'arguments.txt').write_text(' '.join(sys.argv[1:]) + ' ' + os.environ.get('MARK', ''))
print('training', flush=True)
time.sleep(0.3)
if 'fail' in behaviour:
    sys.exit('error: out of memory')
if 'silent' not in behaviour:
    (folder / 'report.json').write_text('{}')
with open('order.txt', 'a') as order:
    order.write(f'end {folder.name}\\n')
"""


def make_jobs(*texts):
    Path('trainer.py').write_text(TRAINER)
    return [Job(arm, 0, Path(arm.folder)) for arm in plan_arms(texts, Config(dict()))]


def fork(script, environment):
    return ForkExecutor(script, environment, preload=())


@pytest.fixture(params=[ProcessExecutor, fork])
def kind(request):
    return request.param


def run(jobs, kind=ProcessExecutor, limit=1, behaviours=None, is_decided=None):
    changes = []

    def prepare(job):
        behaviour = (behaviours or {}).get(job.arm.label, '')
        if behaviour == 'refuse':
            raise ConfigError('drops is 0; it must be more')
        path = Path(f'{job.arm.folder}.config')
        path.write_text(behaviour)
        return path

    with closing(kind(Path('trainer.py'), {'MARK': 'marked'})) as executor:
        run_jobs(
            jobs, limit, executor, prepare,
            changed=lambda job: changes.append((job.arm.label, job.status)), waiting=lambda: None,
            is_decided=is_decided,
        )  # fmt: skip
    return changes


def order():
    return [line.split() for line in Path('order.txt').read_text().splitlines()]


def test_runs_in_order_with_the_arguments_and_environment_given(kind):
    jobs = make_jobs('never', 'consecutive:drops=3')
    changes = run(jobs, kind)
    assert changes == [
        (label, status) for label in ('never', 'consecutive:drops=3') for status in ('running', 'finished')
    ]
    assert all(is_finished(job.folder) for job in jobs)
    assert Path('never/arguments.txt').read_text() == 'never.config --work-dir never marked'
    assert order() == [
        ['begin', 'never'], ['end', 'never'], ['begin', 'consecutive_drops=3'], ['end', 'consecutive_drops=3'],
    ]  # fmt: skip


def test_no_more_than_the_limit_run_at_a_time(kind):
    run(make_jobs('never', 'always', 'consecutive', 'LossRise'), kind, limit=2)
    running, most = 0, 0
    for what, _ in order():
        running += 1 if what == 'begin' else -1
        most = max(most, running)
    assert most == 2


def test_runs_are_stopped_and_no_other_starts_once_all_is_decided():
    jobs = make_jobs('never', 'always', 'LossRise')
    jobs[0].status = 'finished'
    assert run(jobs, is_decided=lambda: True) == []
    assert [job.status for job in jobs] == ['finished', 'not needed', 'not needed']
    jobs = make_jobs('never', 'always', 'LossRise')
    run(jobs, limit=2, is_decided=lambda: jobs[1].last_line == 'training')
    assert jobs[1].process.poll() == -signal.SIGTERM  # the trainer of this test does not save
    assert [job.status for job in jobs[1:]] == ['not needed', 'not needed']


def test_control_waits_for_its_reference():
    run(make_jobs('matched', 'never', 'consecutive'), limit=3)
    assert order().index(['begin', 'matched']) > order().index(['end', 'consecutive'])


def test_failed_run_is_reported_and_the_others_continue(kind):
    jobs = make_jobs('consecutive', 'matched', 'never', 'LossRise', 'Plateau')
    run(jobs, kind, behaviours={'consecutive': 'fail', 'LossRise': 'silent', 'Plateau': 'refuse'})
    by_label = {job.arm.label: job for job in jobs}
    assert {label: job.status for label, job in by_label.items()} == {
        'consecutive': 'failed', 'matched': 'skipped', 'never': 'finished', 'LossRise': 'failed', 'Plateau': 'failed',
    }  # fmt: skip
    assert by_label['consecutive'].reason.startswith('error: out of memory (full output: consecutive/output.txt')
    assert "derived from 'consecutive', which has not finished" in by_label['matched'].reason
    assert by_label['Plateau'].reason == 'drops is 0; it must be more'


def test_finished_run_is_kept_and_interrupted_run_is_resumed():
    jobs = make_jobs('never', 'always')
    jobs[0].status = 'finished'
    jobs[1].folder.mkdir()
    (jobs[1].folder / 'epoch_3.pth').touch()
    assert run(jobs) == [('always', 'running'), ('always', 'finished')]
    assert Path('always/arguments.txt').read_text().startswith('always.config --work-dir always --resume')


def test_finished_control_is_prepared_after_its_reference():
    """Its reference runs first; then prepare refuses the control, or it is kept."""
    jobs = make_jobs('consecutive', 'matched', 'random')
    for job in jobs[1:]:
        job.folder.mkdir()
        (job.folder / 'report.json').write_text('{}')
    changes = run(jobs, behaviours={'random': 'refuse'})
    assert changes == [
        ('consecutive', 'running'), ('consecutive', 'finished'), ('matched', 'finished'), ('random', 'failed'),
    ]  # fmt: skip
    assert not Path('matched/arguments.txt').exists()


def test_interruption_terminates_the_running_processes(kind):
    jobs = make_jobs('never')
    Path('trainer.py').write_text('import time; print("begun", flush=True); time.sleep(60)')

    def interrupt():
        if jobs[0].last_line == 'begun':
            raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), closing(kind(Path('trainer.py'), {})) as executor:
        run_jobs(jobs, 1, executor, lambda job: Path('c'), lambda job: None, interrupt)
    assert jobs[0].process.poll() == -signal.SIGTERM and time.monotonic() - begun < 30
