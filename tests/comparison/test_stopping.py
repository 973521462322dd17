"""Stopping: which seeds count, and how often a comparison without any difference decides a claim."""

import json
import random
from pathlib import Path

import pytest
from mmengine.config import Config

from motivation.comparison.arms import plan_arms
from motivation.comparison.jobs import Job
from motivation.comparison.judgement import Judgement
from motivation.comparison.output.output_files import write_comparison
from motivation.comparison.output.render import describe_test, render_markdown
from motivation.comparison.registered import judge_registered
from motivation.comparison.sequential import SequentialTest
from motivation.comparison.statistics import FIXED
from motivation.comparison.stopping import Stopping
from motivation.config.claims import read_claims
from motivation.config.comparison_plan import ComparisonPlan
from tests.comparison.test_results import write_report

ARMS = ['never', 'always', 'consecutive']
CLAIMS = [
    dict(arm='consecutive', model='base', better_than='never'),
    dict(arm='consecutive', model='motivated', better_than='always'),
    dict(arm='consecutive', model='base', better_than='never', by=-0.5),
]


def judge(gains, claims, test):
    """Judge claims on the base and motivated model of an arm that gains so much with each seed."""
    runs = {label: [dict.fromkeys(('base', 'motivated'), 60.0) for _ in gains] for label in ARMS}
    for run, (base, motivated) in zip(runs['consecutive'], gains, strict=True):
        run['base'] += base
        run['motivated'] += motivated
    arms = [{'arm': label, 'runs': [run | {'seed': n} for n, run in enumerate(own)]} for label, own in runs.items()]
    return judge_registered(read_claims(claims), {'metric': 'accuracy/top1', 'arms': arms}, test)


def share_decided(experiments, looks, test):
    """Return the share of experiments without any difference in which one of two claims is decided at a look."""
    generator, wrong = random.Random(0), 0
    for _ in range(experiments):
        gains = [(generator.gauss(0, 0.7), generator.gauss(0, 0.7)) for _ in range(20)]
        wrong += any(
            claim['verdict'] != 'not decided' for look in looks for claim in judge(gains[:look], CLAIMS[:2], test)
        )
    return wrong / experiments


def test_2000_comparisons_without_a_difference_are_decided_less_often_than_stated():
    """A look at 20 seeds decides what any look before it would have: p-values are the smallest so far."""
    assert 0.005 < share_decided(2000, [20], SequentialTest()) < 0.05


def test_looking_at_the_fixed_test_after_every_seed_would_decide_far_more():
    assert share_decided(50, range(3, 21), FIXED) > 0.1


def test_a_later_look_decides_what_an_earlier_one_would_have():
    generator = random.Random(3)
    for _ in range(20):
        gains, decided = [(generator.gauss(0.7, 0.7), generator.gauss(0, 0.7)) for _ in range(12)], set()
        for look in range(3, 13):
            claims = judge(gains[:look], CLAIMS, SequentialTest())
            now = {(claim['claim'], claim['verdict']) for claim in claims if claim['verdict'] != 'not decided'}
            assert decided <= now
            decided = now


# Gains of both models of consecutive with seeds 0 to 7: both claims are decided after seed 4.
GAINS = [1.0, 1.2, 0.9, 1.1, 1.0, 5.0, -5.0, 1.0]


def planned(seeds=range(8), claims=tuple(CLAIMS[:2])):
    """Return jobs that have not begun, and their judgement."""
    arms = plan_arms(ARMS, Config(dict()))
    jobs = [Job(arm, seed, Path('runs') / arm.folder / f'seed{seed}') for seed in seeds for arm in arms]
    return jobs, Judgement(ComparisonPlan(arms=ARMS, claims=claims, until='decided'), arms, jobs, list(seeds))


def finish(jobs, seed, label=None):
    for job in jobs:
        if job.seed == seed and label in (None, job.arm.label):
            gain = GAINS[seed] if job.arm.label == 'consecutive' else 0
            base, motivated = (60 + gain if name in job.arm.trains else None for name in ('base', 'motivated'))
            if not job.folder.exists():
                write_report(job.folder, base, motivated, 100, 100)
            job.status = 'finished'


def results(judgement):
    return judgement.results(config='study.py', epochs=2)


def test_no_seed_counts_after_the_look_that_decided_all_claims():
    jobs, judgement = planned()
    for seed in range(4):
        finish(jobs, seed)
        assert not judgement.is_decided()
    finish(jobs, 6)  # a later seed that is faster than an earlier one
    assert not judgement.is_decided()
    finish(jobs, 4, 'never')
    finish(jobs, 4, 'always')
    assert not judgement.is_decided()
    finish(jobs, 4)
    assert judgement.is_decided()
    comparison = results(judgement)
    assert comparison['seeds'] == [0, 1, 2, 3, 4]
    assert [[run['seed'] for run in arm['runs']] for arm in comparison['arms']] == [[0, 1, 2, 3, 4]] * 3
    assert {claim['verdict'] for claim in comparison['claims']} == {'supported'}
    assert comparison['test']['stopped'] == 'after 5 of 8 seeds: 2 claims decided'
    assert {job.seed for job in judgement.counted_jobs()} == {0, 1, 2, 3, 4}

    again, same = planned()  # the same command, with all that has finished since
    for seed in range(8):
        finish(again, seed)
    assert same.is_decided() and results(same) == comparison


def test_seeds_count_in_the_order_in_which_they_are_given():
    jobs, judgement = planned([6, 0, 1, 2, 3, 4, 5])
    for seed in range(5):
        finish(jobs, seed)
    assert not judgement.is_decided()  # seed 6 is the first


def test_failed_run_ends_its_seed_and_lacks_in_its_claims():
    jobs, judgement = planned([0, 1, 2, 3, 4, 7])
    for seed in (0, 1, 2, 3, 4):
        finish(jobs, seed)
    failed = next(job for job in jobs if job.seed == 1 and job.arm.label == 'consecutive')
    failed.status, failed.reason = 'failed', 'out of memory'
    assert not judgement.is_decided()  # four differences are too few
    finish(jobs, 7)
    assert judgement.is_decided()
    comparison = results(judgement)
    assert [row['n'] for row in comparison['differences'] if row['arm'] == 'consecutive'] == [5, 5]
    assert comparison['test']['stopped'] == 'after 6 of 6 seeds: 2 claims decided'


def test_comparison_whose_seeds_are_used_up_says_what_is_not_decided():
    seeds = [5, 6, 0, 1, 2]
    jobs, judgement = planned(seeds)
    for seed in seeds:
        finish(jobs, seed)
    comparison = results(judgement)  # without a look while the jobs ran
    assert comparison['seeds'] == seeds
    assert comparison['test']['stopped'] == 'after 5 of 5 seeds: no seed is left, and 2 of 2 claims not decided'


def test_page_says_which_test_it_was_and_shows_no_interval_of_another():
    jobs, judgement = planned()
    for seed in range(8):
        finish(jobs, seed)
    comparison = results(judgement)
    text = render_markdown(comparison)
    assert describe_test(comparison['test']) == (
        "Test: anytime-valid t-test after every seed, with Holm's correction: any claim is decided wrongly with a "
        'probability of at most 5%, however many seeds are run. It stopped after 5 of 8 seeds: 2 claims decided.'
    )
    assert describe_test(comparison['test']) in text and '95 % interval' not in text
    shown = SequentialTest().interval(GAINS[:5])
    assert f'| `consecutive` | `never` | base | +1.04 | {shown.low:+.2f} to {shown.high:+.2f} | 5 |' in text
    assert comparison['test']['error_rate'] == 0.05 and comparison['test']['kind'] == 'sequential'


def test_reports_are_read_once_for_all_looks_of_a_comparison_that_is_called_again():
    jobs, judgement = planned()
    for seed in range(8):
        finish(jobs, seed)
    reads = []

    def gather(jobs):
        reads.append(len(jobs))
        return judgement._gather(jobs)

    assert Stopping(jobs, range(8), gather, judgement._judge).is_decided() and reads == [24]


@pytest.mark.parametrize('until', [None, 'decided'])
def test_verdict_of_a_fixed_number_of_seeds_is_by_the_other_test(until, monkeypatch):
    monkeypatch.setattr(f'{__name__}.GAINS', [1.0, 2.0, 1.5, 0.5])  # a t-statistic of 3.87
    arms = plan_arms(ARMS, Config(dict()))
    jobs = [Job(arm, seed, Path('runs') / arm.folder / f'seed{seed}') for seed in range(4) for arm in arms]
    judgement = Judgement(ComparisonPlan(arms=ARMS, claims=CLAIMS[:1], until=until), arms, jobs, [0, 1, 2, 3])
    for seed in range(4):
        finish(jobs, seed)
    comparison = results(judgement)
    assert comparison['test']['kind'] == ('fixed' if until is None else 'sequential')
    assert [claim['verdict'] for claim in comparison['claims']] == ['supported' if until is None else 'not decided']


def test_page_of_a_sequential_test_is_not_replaced_by_one_of_other_claims_or_of_another_test(monkeypatch):
    monkeypatch.setattr('motivation.comparison.output.output_files.draw_comparison', lambda comparison, file: None)
    jobs, judgement = planned()
    for seed in range(8):
        finish(jobs, seed)
    of_two = results(judgement)
    of_one, fixed = of_two | {'claims': of_two['claims'][:1]}, of_two | {'test': FIXED.describe()}
    for one in (of_one, of_two, fixed, fixed, of_two, of_one):
        write_comparison(one, Path())
    kept = [json.loads(Path(f'compare-{place}.json').read_text()) for place in (1, 2, 3)]
    assert kept == json.loads(json.dumps([of_two, fixed, of_two])) and not Path('compare-4.json').exists()
