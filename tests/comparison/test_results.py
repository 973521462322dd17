"""Results of a comparison, from reports with numbers that can be checked by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from mmengine.config import Config
from scipy.stats import t as student_t

from motivation.comparison.arms import plan_arms
from motivation.comparison.claims import find_differences, judge_claims
from motivation.comparison.jobs import Job
from motivation.comparison.output.output_files import dump, write_comparison
from motivation.comparison.output.render import render_markdown
from motivation.comparison.output.tables import render_csv
from motivation.comparison.results import gather
from motivation.comparison.run_results import read_teacher_report
from motivation.errors import ConfigError
from motivation.report.structure import ModelScores, Validation
from motivation.structures import MODEL_NAMES
from tests.report.reports import model_compute, model_report, run_report


def write_report(folder, base, motivated, base_flops, motivated_flops, seconds=10.0, counted=True):
    """Write the report of a run with two validations; at the first, every number is half of that at the second."""
    accuracies, flops = {'base': base, 'motivated': motivated}, {'base': base_flops, 'motivated': motivated_flops}

    def scores(name, share):
        metrics = (
            {}
            if accuracies[name] is None
            else dict.fromkeys(('accuracy/top1', 'loss/cross_entropy'), accuracies[name] * share)
        )
        return ModelScores(metrics, flops[name] * share if counted else None)

    models = [
        model_report(scores(name, 1).metrics, model_compute(flops[name]) if counted else None) for name in MODEL_NAMES
    ]
    report = run_report(
        *models,
        [Validation(n, n, {name: scores(name, n / 2) for name in MODEL_NAMES}) for n in (1, 2)],
        policy='Policy()',
        epochs=2,
        wall_seconds=seconds,
    )
    folder.mkdir(parents=True)
    (folder / 'report.json').write_text(json.dumps(report.to_json()))


# Accuracies of the base and the motivated model with seeds 0, 1, 2, and their FLOPs.
RUNS = {
    'never': ([50, 51, 52], [None] * 3, 100, 0),
    'always': ([None] * 3, [60, 62, 64], 0, 400),
    'consecutive': ([53, 53, 55], [58, 59, 59], 90, 70),
    'matched': ([50, 54, 51], [58, 57, 60], 90, 70),
    'distillation': ([52, 55, 53], [None] * 3, 150, 0),
}


def compare(labels=tuple(RUNS), failed=(), metric=None):
    jobs = []
    for arm in plan_arms(labels, Config(dict())):
        base, motivated, base_flops, motivated_flops = RUNS[arm.label]
        for seed in range(3):
            job = Job(arm, seed, Path('runs') / arm.folder / f'seed{seed}')
            if (arm.label, seed) in failed:
                job.status, job.reason = 'failed', 'out of memory'
            else:
                write_report(job.folder, base[seed], motivated[seed], base_flops, motivated_flops)
                job.status = 'finished'
            jobs.append(job)
    return compare_jobs(jobs, metric)


def compare_jobs(jobs, metric=None):
    comparison = gather(jobs, metric, {'config': 'some_config.py', 'epochs': 2, 'seeds': [0, 1, 2]})
    comparison['differences'] = find_differences(comparison['arms'])
    comparison['claims'] = judge_claims(comparison)
    return comparison


def arm_of(comparison, label):
    return next(arm for arm in comparison['arms'] if arm['arm'] == label)


def difference(comparison, arm, against, model):
    (row,) = (
        row for row in comparison['differences'] if (row['arm'], row['against'], row['model']) == (arm, against, model)
    )
    return row


def verdict(comparison, claim):
    (row,) = (row for row in comparison['claims'] if row['claim'] == claim)
    return row['verdict']


def test_arms_are_summarised_over_seeds():
    own = arm_of(compare(), 'consecutive')['summary']
    assert own['base']['mean'] == pytest.approx(161 / 3) and own['base']['n'] == 3
    assert own['base']['sd'] == pytest.approx((4 / 3) ** 0.5)
    assert own['total_train_flops']['mean'] == 160
    assert own['saving']['mean'] == 400 / 160
    assert own['motivated_fraction']['mean'] == 0.25


def test_untrained_model_has_no_accuracy():
    comparison = compare()
    assert arm_of(comparison, 'never')['summary']['motivated'] is None
    assert arm_of(comparison, 'always')['summary']['base'] is None


def test_both_standalone_trainings_are_one_row():
    standalone = compare()['standalone']
    assert standalone['arm'] == 'never + always'
    own = standalone['summary']
    assert (own['base']['mean'], own['motivated']['mean']) == (51, 62)
    assert own['total_train_flops']['mean'] == 500 and own['saving']['mean'] == pytest.approx(400 / 500)
    assert own['wall_seconds']['mean'] == 20


def test_distillation_includes_the_cost_and_accuracy_of_its_teacher():
    arm = arm_of(compare(), 'distillation')
    own = arm['summary']
    assert own['total_train_flops']['mean'] == 150 + 400 and own['wall_seconds']['mean'] == 20
    assert own['motivated']['mean'] == 62 and own['motivated_fraction'] is None
    assert [row['total_train_flops'] for row in arm['runs'][0]['history']] == [400 + 75, 400 + 150]


def test_differences_are_paired_by_seed():
    comparison = compare()
    row = difference(comparison, 'consecutive', 'never', 'base')  # 3, 2, 3
    half = 4.302653 * (1 / 3) ** 0.5 / 3**0.5
    assert (row['mean'], row['n']) == (pytest.approx(8 / 3), 3)
    assert (row['low'], row['high']) == (pytest.approx(8 / 3 - half), pytest.approx(8 / 3 + half))
    assert difference(comparison, 'consecutive', 'always', 'motivated')['mean'] == pytest.approx((-2 - 3 - 5) / 3)
    assert difference(comparison, 'consecutive', 'matched', 'base')['mean'] == pytest.approx((3 - 1 + 4) / 3)
    assert difference(comparison, 'consecutive', 'distillation', 'base')['mean'] == pytest.approx((1 - 2 + 2) / 3)


def test_nothing_is_compared_with_itself_or_its_own_teacher():
    pairs = [(row['arm'], row['against'], row['model']) for row in compare()['differences']]
    assert len(pairs) == len(set(pairs))
    assert ('distillation', 'always', 'motivated') not in pairs
    assert not any(arm == against for arm, against, _ in pairs)


def test_claims_are_judged_with_holms_correction():
    comparison = compare()
    claims = {claim['claim']: claim for claim in comparison['claims']}
    better = claims['consecutive: its base model is better than that of never']  # 3, 2, 3: t = 8
    assert better['p'] == pytest.approx(2 * student_t.sf(8, 2))
    smaller = sum(claim['p'] < better['p'] for claim in claims.values())
    assert better['adjusted_p'] == pytest.approx((len(claims) - smaller) * better['p'])
    assert better['verdict'] == 'not decided'  # by itself it would be supported
    assert verdict(comparison, 'consecutive: both models cost fewer training FLOPs than always') == 'supported'
    assert verdict(comparison, 'consecutive: both models cost fewer training FLOPs than never + always') == 'supported'
    assert verdict(comparison, 'distillation: both models cost fewer training FLOPs than always') == 'contradicted'
    assert (
        verdict(comparison, 'distillation: both models cost fewer training FLOPs than never + always') == 'contradicted'
    )


def test_saving_that_reads_as_none_decides_nothing(monkeypatch):
    base, motivated, *_ = RUNS['consecutive']
    monkeypatch.setitem(RUNS, 'consecutive', (base, motivated, 250, 249.99))  # of 500: the same with every seed
    comparison = compare(('never', 'always', 'consecutive'))
    claim = 'consecutive: both models cost fewer training FLOPs than never + always'
    assert verdict(comparison, claim) == 'not decided'
    (row,) = (row for row in comparison['claims'] if row['claim'] == claim)
    assert row['evidence'] == '+0.00 % saved, 95 % interval +0.00 to +0.00 (3 seeds)'


def test_of_a_loss_the_lower_is_better():
    comparison = compare(('never', 'always', 'consecutive'), metric='loss/cross_entropy')
    claim = 'consecutive: its base model is better than that of never after 100 FLOPs'
    assert verdict(comparison, claim) == 'supported'  # -17 nats
    claim = 'consecutive: its base model is better than that of never'
    (row,) = (row for row in comparison['claims'] if row['claim'] == claim)
    assert row['evidence'] == '+2.667 nats, 95 % interval +1.232 to +4.101 (3 seeds)'
    assert verdict(comparison, 'consecutive: both models cost fewer training FLOPs than always') == 'supported'
    text = render_markdown(comparison)
    assert 'loss/cross_entropy in nats, lower is better' in text


def test_equal_flops_interpolates_between_validations():
    """Never spends 100 in total. Consecutive has half of its accuracy at 80 and all of it at 160."""
    equal = compare()['equal_flops']
    assert equal['base']['train_flops'] == 100
    at = 161 / 3 * (0.5 + 0.5 * (100 - 80) / 80)
    assert equal['base']['arms']['consecutive']['mean'] == pytest.approx(at)
    assert equal['base']['arms']['never']['mean'] == 51
    assert 'distillation' not in equal['base']['arms']  # its teacher alone costs more
    assert equal['motivated']['train_flops'] == 160
    assert 'always' not in equal['motivated']['arms']  # not validated before 200
    assert 'never' not in equal['motivated']['arms']


def test_differences_at_equal_flops_are_paired_and_judged_too():
    comparison = compare()
    (row,) = (row for row in comparison['equal_flops']['base']['differences'] if row['arm'] == 'consecutive')
    assert (row['against'], row['n']) == ('never', 3)
    assert row['mean'] == pytest.approx(161 / 3 * 0.625 - 51)
    claim = 'consecutive: its base model is better than that of never after 100 FLOPs'
    assert verdict(comparison, claim) == 'contradicted'


def test_arm_with_a_run_unknown_at_equal_flops_is_left_out():
    """Otherwise the mean would only cover the runs that were validated early."""
    jobs = []
    for arm in plan_arms(['never', 'consecutive'], Config(dict())):
        for seed in range(2):
            job = Job(arm, seed, Path('early') / arm.folder / f'seed{seed}', status='finished')
            late = arm.label == 'consecutive' and seed == 1
            write_report(job.folder, 50, None if arm.label == 'never' else 50, 100, 150 if late else 0)
            jobs.append(job)
    equal = gather(jobs, None, {'config': 'c.py', 'epochs': 2, 'seeds': [0, 1]})['equal_flops']['base']
    assert equal['train_flops'] == 100 and list(equal['arms']) == ['never']


def test_unfinished_runs_are_listed_and_the_others_compared():
    comparison = compare(failed={('consecutive', 1)})
    assert difference(comparison, 'consecutive', 'never', 'base')['n'] == 2
    assert verdict(comparison, 'consecutive: its base model is better than that of never') == 'not decided'
    assert '- `consecutive`, seed 1: failed: out of memory' in render_markdown(comparison)


def test_markdown_contains_the_numbers():
    text = render_markdown(compare())
    for line in (
        '| `consecutive` | 3 | 53.67 ± 1.15 * | 58.67 ± 0.58 * | 90 | 70 | 160 | 2.50 x | 25.0% | 10 |',
        '| `matched` | 3 | 51.67 ± 2.08 | 58.33 ± 1.53 | 90 | 70 | 160 | 2.50 x | 25.0% | 10 |',
        '| `never + always` | 3 | 51.00 ± 1.00 | 62.00 ± 2.00 | 100 | 400 | 500 | 0.80 x |  | 20 |',
        '| `consecutive` | `never` | base | +2.67 | +1.23 to +4.10 | 3 |',
        '| consecutive: its base model is better than that of never | **not decided** | +2.67 points, 95 % interval '
        '+1.23 to +4.10 (3 seeds) | 0.0153 | 0.1374 |',
        '| `never` | 51.00 ± 1.00 |  |  |  |',
        '| `consecutive` | 33.54 ± 0.72 | -17.46 (-18.75 to -16.17) | 58.67 ± 0.58 |  |',
    ):
        assert line in text.splitlines()
    assert 'FLOPs = 2 x MACs' in text and '`some_config.py`, 2 epochs, seeds 0, 1, 2' in text


def test_files_are_written_and_the_data_reads_back():
    comparison = compare()
    Path('out').mkdir()
    paths = write_comparison(comparison, Path('out'))
    assert [path.name for path in paths] == ['compare.md', 'compare.json', 'compare.png', 'compare.csv']
    assert json.loads(paths[1].read_text()) == json.loads(json.dumps(comparison)) == json.loads(dump(comparison))
    assert paths[3].read_text() == render_csv(comparison)


def test_comparison_of_fewer_runs_does_not_replace_a_larger_one():
    Path('out').mkdir()
    write_comparison(compare(), Path('out'))
    before = Path('out/compare.json').read_text()
    few = json.loads(before)
    few['arms'] = few['arms'][:2]
    del few['schema']  # as an earlier version wrote it
    write_comparison(few, Path('out'))
    assert Path('out/compare-1.json').read_text() == before
    assert len(json.loads(Path('out/compare.json').read_text())['arms']) == 2
    write_comparison(json.loads(before), Path('out'))
    assert not Path('out/compare-2.json').exists()  # the larger one contains the smaller one


def test_picture_has_a_curve_for_each_arm_that_trains_the_model():
    """Arms take the colours of matplotlib's tab10 in order: never is blue, always is orange."""
    write_comparison(compare(), Path())
    pixels = imread('compare.png')[..., :3]
    left, right = np.split(pixels[: int(0.85 * pixels.shape[0])], 2, axis=1)  # without the legend

    def has(panel, colour):
        return bool((np.abs(panel - np.array(colour)) < 0.01).all(axis=2).any())

    blue, orange, green = (0.122, 0.467, 0.706), (1.0, 0.498, 0.055), (0.173, 0.627, 0.173)
    assert has(left, blue) and not has(right, blue)
    assert has(right, orange) and not has(left, orange)
    assert has(left, green) and has(right, green)


def test_nothing_to_compare_raises_one_sentence():
    (arm,) = plan_arms(['never'], Config(dict()))
    about = {'config': 'c.py', 'epochs': 2, 'seeds': [0]}
    with pytest.raises(ConfigError, match='no run has finished'):
        gather([Job(arm, 0, Path('never'))], None, about)
    write_report(Path('never'), 50, None, 100, 0)
    job = Job(arm, 0, Path('never'), status='finished')
    with pytest.raises(
        ConfigError, match=r"^metric is 'top2', which a run does not report for base; it reports accuracy"
    ):
        gather([job], 'top2', about)


def test_teacher_of_another_run_adds_the_cost_of_that_run():
    write_report(Path('elsewhere'), None, 61, 0, 380)
    (arm,) = plan_arms(['distillation:teacher=elsewhere/motivated.pth'], Config(dict()))
    write_report(Path('run'), 55, None, 120, 0)
    comparison = gather(
        [Job(arm, 0, Path('run'), status='finished')], None, {'config': 'c.py', 'epochs': 2, 'seeds': [0]}
    )
    run = comparison['arms'][0]['runs'][0]
    assert (run['total_train_flops'], run['motivated']) == (500, 61)
    with pytest.raises(ConfigError, match=r'has no report\.json beside it, so its cost is unknown'):
        read_teacher_report('nowhere/motivated.pth')


def test_arm_whose_flops_were_not_counted_is_compared_in_accuracy_alone(tmp_path):
    jobs = []
    for arm in plan_arms(['never', 'always', 'consecutive'], Config(dict())):
        for seed in range(3):
            job = Job(arm, seed, Path('uncounted') / arm.folder / f'seed{seed}', status='finished')
            base, motivated, base_flops, motivated_flops = RUNS[arm.label]
            counted = arm.label != 'consecutive'
            write_report(job.folder, base[seed], motivated[seed], base_flops, motivated_flops, counted=counted)
            jobs.append(job)
    comparison = compare_jobs(jobs)
    own = arm_of(comparison, 'consecutive')['summary']
    assert own['base']['mean'] == pytest.approx(161 / 3)
    assert own['total_train_flops'] is None and own['saving'] is None
    assert difference(comparison, 'consecutive', 'never', 'base')['n'] == 3
    assert 'consecutive' not in comparison['equal_flops']['base']['arms']
    assert not [claim for claim in comparison['claims'] if 'fewer training FLOPs' in claim['claim']]
    text = render_markdown(comparison)
    assert '| `consecutive` | 3 | 53.67 ± 1.15 | 58.67 ± 0.58 |  |  |  |  | 25.0% | 10 |' in text.splitlines()
    assert 'The FLOPs of `consecutive` were not counted in every run' in text
    write_comparison(comparison, tmp_path)
    assert 'The FLOPs of' not in render_markdown(compare(('never',)))


def test_comparison_without_any_flops_draws_accuracy_over_epochs(tmp_path):
    jobs = []
    for arm in plan_arms(['never', 'consecutive'], Config(dict())):
        job = Job(arm, 0, Path('runs') / arm.folder, status='finished')
        write_report(job.folder, 50, None if arm.label == 'never' else 60, 0, 0, counted=False)
        jobs.append(job)
    comparison = compare_jobs(jobs)
    assert comparison['equal_flops'] == {}
    pixels = imread(write_comparison(comparison, tmp_path)[2])[..., :3]
    assert (np.abs(pixels - np.array((0.122, 0.467, 0.706))) < 0.01).all(axis=2).any()  # the curve of never
