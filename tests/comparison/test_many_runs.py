"""What a comparison of many runs does grows with their number, and no faster."""

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from motivation.comparison.claims import find_differences, judge_claims
from motivation.comparison.display import Display
from motivation.comparison.output.picture import choose_curves
from motivation.comparison.output.render import render_markdown, uncounted
from motivation.comparison.output.terminal import build_table
from motivation.comparison.results import gather
from motivation.report.structure import RunReport
from tests.comparison.many_runs import finished_jobs
from tests.comparison.stub_runs import StubExecutor
from tests.comparison.stub_runs import compare as stub_comparison

ABOUT = {'config': 'c.py', 'epochs': 2, 'seeds': [0, 1]}


def compare(jobs):
    comparison = gather(jobs, None, dict(ABOUT))
    comparison['differences'] = find_differences(comparison['arms'])
    comparison['claims'] = judge_claims(comparison)
    return comparison


@pytest.fixture(scope='module')
def comparison(tmp_path_factory):
    return compare(finished_jobs(60, 2, 2, tmp_path_factory.mktemp('runs')))


def printed(comparison):
    out = io.StringIO()
    Console(file=out, width=110).print(build_table(comparison))
    return out.getvalue()


def test_every_report_is_read_once_and_one_more_for_the_name_of_the_metric(tmp_path, monkeypatch):
    jobs, read = finished_jobs(6, 2, 2, tmp_path), []
    original = RunReport.read
    monkeypatch.setattr(RunReport, 'read', lambda path: read.append(path) or original(path))
    compare(jobs)
    paths = [job.folder / 'report.json' for job in jobs]
    assert sorted(read) == sorted([*paths, paths[0]])


def test_twice_the_arms_are_twice_the_calls(tmp_path):
    def calls(arms):
        jobs, count = finished_jobs(arms, 2, 2, tmp_path), [0]

        def count_call(frame, event, argument):
            count[0] += event in ('call', 'c_call')

        compare(jobs)  # fills what is kept between comparisons
        sys.setprofile(count_call)
        try:
            render_markdown(compare(jobs))
        finally:
            sys.setprofile(None)
        return count[0]

    assert calls(60) < 2.1 * calls(30)


def test_a_run_that_ends_is_reported_without_looking_at_all_the_others(tmp_path):
    class Watched(list):
        iterations = 0

        def __iter__(self):
            self.iterations += 1
            return super().__iter__()

    jobs = Watched(finished_jobs(4, 2, 1, tmp_path))
    for job in jobs[1:]:
        job.status = 'waiting'
    out = io.StringIO()
    with Display(Console(file=out, width=300), jobs, tmp_path) as display:
        before = jobs.iterations
        for job in jobs[1:]:
            for job.status, job.seconds in (('running', 0.0), ('finished', 1.0)):
                display.changed(job)
        assert jobs.iterations == before
    lines = out.getvalue().splitlines()
    assert lines[0].startswith('comparison of 8 runs (4 arms, 2 seeds) in ')
    assert lines[1].startswith('[1/8] always, seed 0: started') and lines[-1].startswith('[8/8] ')
    assert lines[-3].startswith('[7/8] ') and lines[-3].endswith(' left') and not lines[-1].endswith(' left')


def test_the_terminal_shows_baselines_and_fronts_of_many_arms_and_says_where_the_others_are(comparison):
    text = printed(comparison)
    on_front = [arm['arm'] for arm in comparison['arms'] if arm['pareto']]
    shown = {'never', 'always', *on_front}
    assert 3 < len(shown) < 29
    lines = [line.split()[0] for line in text.splitlines() if line.split()]
    assert sum(line.startswith('config:') for line in lines) == len(shown) - 2
    assert f'{60 - len(shown)} more arms in compare.md.' in ' '.join(text.split())
    markdown = render_markdown(comparison)
    assert all(f'| `{arm["arm"]}` | 2 |' in markdown for arm in comparison['arms'])


def test_the_picture_has_the_curves_of_baselines_and_of_the_fronts_ends_only(comparison):
    arms = comparison['arms']
    chosen = [arm['arm'] for arm in choose_curves(arms)]
    assert len(chosen) <= 14 and chosen[:2] == ['never', 'always']
    assert choose_curves(arms[:14]) == arms[:14]
    best = max((arm for arm in arms if arm['pareto']), key=lambda arm: arm['summary']['total_train_flops']['mean'])
    assert best['arm'] in chosen


def test_runs_that_are_ready_together_are_submitted_together(monkeypatch):
    monkeypatch.setattr(StubExecutor, 'submissions', 0)
    made = stub_comparison(12, 2)
    made.run(Path('train.py'))
    assert [job.status for job in made.jobs] == ['finished'] * 24
    assert StubExecutor.submissions == 2  # those that wait for another, after it


def test_a_sentence_names_few_of_many_arms():
    arms = [{'arm': f'arm{place}', 'runs': [{'total_train_flops': None}]} for place in range(7)]
    assert uncounted({'arms': arms}).startswith(
        'The FLOPs of `arm0`, `arm1`, `arm2`, `arm3`, `arm4` and 2 other arms were'
    )
