"""Scheduling of runs, as processes with a fake trainer that does at once what its config says, or by a stub executor."""

import signal
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest
from mmengine.config import Config

from motivation.comparison.arms import plan_arms
from motivation.comparison.jobs import Job, is_finished, run_jobs
from motivation.errors import ConfigError
from motivation.executors.executor import Outcome
from motivation.executors.local import LocalExecutor
from motivation.executors.processes import ForkLauncher, ProcessLauncher
from motivation.utils.lock import LOCK_NAME

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
    return ForkLauncher(script, environment, preload=())


@pytest.fixture(params=[ProcessLauncher, fork])
def kind(request):
    return request.param


@contextmanager
def local(kind=ProcessLauncher, limit=1):
    with patch('motivation.executors.local.choose_launcher', kind), closing(LocalExecutor()) as executor:
        executor.slots = limit
        executor.open(Path('trainer.py'), {'MARK': 'marked'}, Path())
        yield executor


def run(jobs, kind=ProcessLauncher, limit=1, behaviours=None, **kwargs):
    changes = []

    def prepare(job):
        behaviour = (behaviours or {}).get(job.arm.label, '')
        if behaviour == 'refuse':
            raise ConfigError('drops is 0; it must be more')
        path = Path(f'{job.arm.folder}.config')
        path.write_text(behaviour)
        return path

    with local(kind, limit) as executor:
        run_jobs(
            jobs, kwargs.pop('executor', executor), prepare,
            changed=lambda job: changes.append((job.arm.label, job.status)), waiting=lambda: None, **kwargs,
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
    assert Path('never/arguments.txt').read_text() == 'never.config --work-dir never --resume auto marked'
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


def test_finished_run_is_kept():
    jobs = make_jobs('never', 'always')
    jobs[0].status = 'finished'
    assert run(jobs) == [('always', 'running'), ('always', 'finished')]


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
    with pytest.raises(KeyboardInterrupt), local(kind) as executor:
        run_jobs(jobs, executor, lambda job: Path('c'), lambda job: None, interrupt)
    assert jobs[0].run.poll() == Outcome(-signal.SIGTERM) and time.monotonic() - begun < 30


class Stub:
    """An executor whose runs end when the test says so."""

    def __init__(self, slots=None):
        self.slots, self.submitted, self.going = slots, [], {}

    def submit(self, requests):
        self.submitted.append([request.name for request in requests])
        self.going.update({request.name: StubRun(request) for request in requests})
        return [self.going[request.name] for request in requests]

    def find(self, request):
        return None

    def finish(self, name):
        run = self.going.pop(name)
        (run.request.folder / 'report.json').write_text('{}')
        run.outcome = Outcome(0)


class StubRun:
    def __init__(self, request):
        self.request, self.outcome = request, None

    def poll(self):
        return self.outcome

    def cancel(self):
        self.outcome = Outcome(143)

    def wait(self):
        return self.outcome


def seeded(seeds, *texts):
    arms = plan_arms(texts, Config(dict()))
    return [Job(arm, seed, Path(arm.folder, str(seed))) for seed in range(seeds) for arm in arms]


def drive(jobs, stub, steps, **kwargs):
    """Run jobs; after each round the next of the steps is taken, and an interruption ends what is left."""
    steps = iter(steps)

    def waiting():
        next(steps)()

    with patch('motivation.comparison.jobs._LEAST', 0):
        run_jobs(jobs, stub, lambda job: Path('c'), lambda job: None, waiting, **kwargs)


def test_all_that_is_ready_is_submitted_together_and_a_control_with_the_end_of_its_reference_seed_by_seed():
    stub = Stub()
    drive(
        seeded(2, 'consecutive', 'matched', 'never'), stub,
        [
            lambda: stub.finish('consecutive_seed1'), lambda: stub.finish('consecutive_seed0'),
            lambda: [stub.finish(name) for name in list(stub.going)], lambda: None,
        ],
    )  # fmt: skip
    first, *later = stub.submitted
    assert first == ['consecutive_seed0', 'never_seed0', 'consecutive_seed1', 'never_seed1']
    assert later == [['matched_seed1'], ['matched_seed0']]


def test_free_slots_are_filled_in_the_order_of_the_jobs_and_a_control_comes_before_later_seeds():
    stub = Stub(slots=1)
    names = []

    def finish():
        (name,) = stub.going
        names.append(name)
        stub.finish(name)

    drive(seeded(2, 'consecutive', 'matched'), stub, [*[finish] * 4, lambda: None])
    assert names == ['consecutive_seed0', 'matched_seed0', 'consecutive_seed1', 'matched_seed1']


def test_decided_comparison_stops_what_runs_and_drops_what_waits():
    stub = Stub(slots=2)
    jobs = seeded(3, 'consecutive', 'matched')
    asked = []

    def is_decided():
        asked.append([job.status for job in jobs].count('finished'))
        return len(asked) == 3

    steps = [lambda: stub.finish('consecutive_seed0'), lambda: stub.finish('matched_seed0'), lambda: None, lambda: None]
    drive(jobs, stub, steps, is_decided=is_decided)
    assert asked == [0, 1, 2]
    assert [job.status for job in jobs] == ['finished'] * 2 + ['not needed'] * 4
    assert not any(job.reason for job in jobs)


def test_nothing_starts_if_the_finished_runs_decide_all():
    stub, jobs = Stub(slots=2), seeded(2, 'consecutive', 'matched')
    for job in jobs[:2]:
        job.status = 'finished'
    drive(jobs, stub, [], is_decided=lambda: jobs[1].status == 'finished')
    assert [job.status for job in jobs] == ['finished'] * 2 + ['not needed'] * 2


def test_failed_run_may_decide_all_too():
    """It ends its seed, after which there is a look."""
    jobs = make_jobs('never', 'always')
    run(jobs, behaviours={'never': 'refuse'}, is_decided=lambda: jobs[0].status == 'failed')
    assert [job.status for job in jobs] == ['failed', 'not needed']


HOLDER = """
import sys, time
from pathlib import Path
from motivation.utils.lock import lock_folder
lock_folder(Path('never'))
print('locked', flush=True)
time.sleep(float(sys.argv[1]))
Path('never/report.json').write_text('{}')
"""


def test_run_that_a_killed_comparison_left_behind_is_waited_for_and_not_started_twice():
    jobs = make_jobs('never')
    jobs[0].folder.mkdir()
    holder = subprocess.Popen([sys.executable, '-c', HOLDER, '1.5'], stdout=subprocess.PIPE)
    holder.stdout.readline()
    assert (jobs[0].folder / LOCK_NAME).exists()
    assert run(jobs) == [('never', 'running'), ('never', 'finished')]
    assert not Path('never/arguments.txt').exists() and jobs[0].followed
    holder.wait()


def test_run_that_ends_unfinished_after_it_was_waited_for_is_started_again():
    jobs = make_jobs('never')
    jobs[0].folder.mkdir()
    holder = subprocess.Popen([sys.executable, '-c', HOLDER, '60'], stdout=subprocess.PIPE)
    holder.stdout.readline()
    Path('never.config').touch()
    changes = []

    def kill_when_followed():
        if jobs[0].followed:
            holder.kill()
            holder.wait()

    with local() as executor:
        run_jobs(
            jobs, executor, lambda job: Path('never.config'), lambda job: changes.append(job.status), kill_when_followed
        )
    assert changes == ['running', 'running', 'finished'] and Path('never/arguments.txt').exists()
