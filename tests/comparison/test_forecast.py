"""The hours of a comparison, from given times of its batches."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.config import Config

from motivation.comparison.compare import Comparison
from motivation.comparison.forecast import Share, count_validations, forecast_share, run_seconds, whole_seconds
from motivation.comparison.timing import Timing, main, reduce_to_timed, time_runs
from motivation.config.read import load_config
from motivation.errors import TrainingError
from tests.conftest import DIGITS
from tests.report.reports import model_report, run_report
from tests.small import FEW_IMAGES, SMALL_PAIR

TIMING = Timing(base=0.01, motivated=0.04, validation={'base': 0.5, 'motivated': 2.0}, setup=3.0, batches=100)


def shares(**policy):
    return forecast_share(policy, epochs=20, batches=100, seed=3)


@pytest.mark.parametrize(
    ('policy', 'share'),
    [
        (dict(type='Never'), 0),
        (dict(type='Always'), 1999 / 2000),
        (dict(type='Periodic', on=1, off=4), 400 / 2000),
        (dict(type='EpochSchedule', epochs=[(15, None)]), 500 / 2000),
        (dict(type='During', start=0.5, policy=dict(type='Always')), 1000 / 2000),
    ],
)
def test_share_of_what_ignores_the_losses_is_exact(policy, share):
    assert shares(**policy) == Share(share, 'exact')


def test_share_of_a_random_gate_is_that_of_its_own_draws():
    found = shares(type='RandomGate', rate=0.2)
    assert found.origin == 'exact' and found.value == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(
    ('policy', 'share'),
    [
        (dict(type='ConsecutiveDrop', drops=1), 1 / 2),
        (dict(type='ConsecutiveDrop', drops=2), 1 / 6),
        (dict(type='LossRise', rises=3), 1 / 24),
    ],
)
def test_share_of_a_condition_is_that_on_independent_noise(policy, share):
    found = shares(**policy)
    assert found.origin == 'noise' and found.value == pytest.approx(share, rel=0.1)


@pytest.mark.parametrize(
    'policy',
    [
        dict(type='LossBelow', threshold=0.5),  # on noise from 0 to 1 half of the batches, which says nothing
        dict(type='GradientNorm', below=1.0),
        dict(type='Replay', run='nowhere'),
    ],
)
def test_share_that_noise_does_not_determine_is_its_bound(policy):
    assert shares(**policy) == Share(1.0, 'bound')


def config(model=None, **train_cfg):
    base = dict(type='TimmClassifier')
    return Config(
        dict(model={'base': base, **(model or {})}, train_cfg=dict(max_epochs=10, **train_cfg), val_cfg=dict())
    )


def test_seconds_of_a_run_are_those_of_its_batches_and_validations():
    setup, validations = 3.0, 10 * (0.5 + 2.0)
    assert run_seconds(config(), TIMING, 0.25) == pytest.approx(setup + 750 * 0.01 + 250 * 0.04 + validations)
    distilled = config(model=dict(distillation=dict(weight=0.5)))
    assert run_seconds(distilled, TIMING, 0.25) == pytest.approx(setup + 1000 * 0.01 + 250 * 0.04 + validations)
    base_alone = config()
    base_alone.val_cfg.models = ['base']
    assert run_seconds(base_alone, TIMING, 0.0) == pytest.approx(setup + 1000 * 0.01 + 10 * 0.5)
    taught = config(model=dict(base=dict(type='DistilledClassifier')))
    assert run_seconds(taught, TIMING, 0.0) == pytest.approx(setup + 1000 * (0.01 + 0.04 / 3) + validations)
    no_data = Config(dict(base_alone._cfg_dict.to_dict(), val_cfg=None))
    assert run_seconds(no_data, Timing(0.01, 0.04, {}, 0.0, 100), 0.0) == pytest.approx(1000 * 0.01)


def test_validations_are_counted_as_the_training_loop_makes_them():
    assert count_validations(dict(max_epochs=10)) == 10
    assert count_validations(dict(max_epochs=10, val_interval=4)) == 3  # 4, 8 and the last
    assert count_validations(dict(max_epochs=10, val_interval=4, val_begin=6)) == 2


def test_whole_is_that_of_the_runs_in_their_order_each_after_the_one_it_waits_for():
    runs = [(3.0, None), (5.0, None), (4.0, 0), (1.0, None)]
    assert whole_seconds(runs, 1) == 13
    # 0 to 3 and 5; from 3 the third, from 5 the fourth, to 7.
    assert whole_seconds(runs, 2) == 7
    assert whole_seconds([(2.0, None), (2.0, 0), (2.0, 0)], 3) == 4
    assert whole_seconds([(0.0, None), (2.0, 0)], 1) == 2
    assert whole_seconds([], 2) == 0


@pytest.fixture
def timed(monkeypatch):
    """The configs that are timed, with times that are given."""
    seen = []

    def time_given(configs, environment):
        seen.extend(configs)
        return [TIMING] * len(configs)

    monkeypatch.setattr('motivation.comparison.compare.time_runs', time_given)
    return seen


def test_forecast_has_every_arm_and_leaves_finished_runs_out(timed, capsys):
    planned = Comparison(
        DIGITS, Path('work'), arms=['never', 'consecutive', 'matched', 'GradientNorm:below=1'], seeds=[0, 1], epochs=20
    )
    found = planned.forecast(limit=2)
    arms = {arm.label: arm for arm in found.arms}
    assert [arm.left for arm in arms.values()] == [2] * 4 and len(timed) == 4
    assert (
        arms['consecutive'].share == arms['matched'].share == forecast_share(dict(type='ConsecutiveDrop'), 20, 100, 0)
    )
    assert arms['never'].seconds == pytest.approx(3 + 2000 * 0.01 + 20 * 0.5)
    assert arms['GradientNorm:below=1'].seconds == pytest.approx(3 + 2000 * 0.04 + 20 * 2.5)
    planned.show(found)
    shown = capsys.readouterr().out
    assert 'hours for the 8 of 8 runs that are left, 2 at a time' in shown
    assert 'a batch of the base model 10 ms, of the motivated model 40 ms' in shown

    for label, seed, fraction in (('consecutive', 0, 0.3), ('consecutive', 1, 0.4), ('never', 0, 0.0)):
        job = next(job for job in planned.jobs if (job.arm.label, job.seed) == (label, seed))
        job.status = 'finished'
        job.folder.mkdir(parents=True)
        report = run_report(model_report({}), model_report({}), [], motivated_fraction=fraction)
        (job.folder / 'report.json').write_text(json.dumps(report.to_json()))
    later = planned.forecast(limit=1)
    assert {arm.label: arm.left for arm in later.arms} == {'never': 1, 'matched': 2, 'GradientNorm:below=1': 2}
    assert later.seconds == pytest.approx(sum(arm.left * arm.seconds for arm in later.arms))
    assert next(arm for arm in later.arms if arm.label == 'matched').share == Share(0.35, 'runs')


def test_comparison_is_forecast_unasked_only_if_it_takes_more_than_an_hour(timed, monkeypatch, capsys):
    monkeypatch.setattr('motivation.comparison.compare.run_jobs', lambda *arguments: None)
    slow = replace(TIMING, base=0.2)
    for timing, epochs, is_timed, is_shown in (
        (slow, 5, False, False),  # 115 batches: not worth timing
        (TIMING, 200, True, False),
        (slow, 200, True, True),  # 20,000 batches of 0.2 s
    ):
        timed.clear()
        monkeypatch.setattr(
            'motivation.comparison.compare.time_runs',
            lambda configs, _, timing=timing: [timed.append(timing) or timing for _ in configs],
        )
        Comparison(DIGITS, Path('work'), arms=['never'], seeds=[0], epochs=epochs).run(Path('train.py'))
        shown = capsys.readouterr().out
        assert (bool(timed), 'timed here' in shown) == (is_timed, is_shown), epochs
        assert shown.index('timed here') < shown.index('comparison of') if is_shown else True


def test_models_that_cannot_be_timed_do_not_keep_a_comparison_from_running(monkeypatch, capsys):
    def fail(*arguments):
        raise TrainingError('no forecast, because the models cannot be timed: out of memory')

    monkeypatch.setattr('motivation.comparison.compare.time_runs', fail)
    monkeypatch.setattr('motivation.comparison.compare.run_jobs', lambda *arguments: None)
    Comparison(DIGITS, Path('work'), arms=['never'], seeds=[0], epochs=200).run(Path('train.py'))
    assert 'cannot be timed: out of memory\ncomparison of' in capsys.readouterr().out


def timed_config(path='timed.py', **options):
    config = load_config(DIGITS, {**SMALL_PAIR, **FEW_IMAGES, 'model.weight_map.type': 'AutoMap', **options})
    reduced = reduce_to_timed(config)
    reduced.dump(path)
    return reduced


def test_batches_and_validation_of_real_models_are_timed(monkeypatch):
    monkeypatch.setattr('motivation.comparison.timing._SECONDS', 0.0)
    timed_config(**{'model.distillation.weight': 0.5, 'compile': None})
    main('timings.json', 'timed.py')
    (found,) = (Timing(**timing) for timing in json.loads(Path('timings.json').read_text()))
    assert found.batches == 23 and found.setup > 0
    assert 0 < found.base < 2 and 0 < found.motivated < 2
    assert found.validation.keys() == {'base', 'motivated'} and min(found.validation.values()) > 0


def test_equal_models_are_timed_once(monkeypatch):
    shared = load_config(DIGITS)
    other_policy = load_config(DIGITS, {'motivation.policy.type': 'Always', 'param_scheduler': []})
    distilled = load_config(DIGITS, {'model.distillation.weight': 0.5})
    larger = load_config(DIGITS, {'train_dataloader.batch_size': 128})
    called = []

    def run(command, **_):
        output, *paths = command[4:]
        called.extend(paths)
        times = [dict(base=place, motivated=1.0, validation={}, setup=0.0, batches=1) for place, _ in enumerate(paths)]
        Path(output).write_text(json.dumps(times))
        return type('Done', (), {'returncode': 0, 'stderr': ''})

    monkeypatch.setattr('motivation.comparison.timing.subprocess.run', run)
    assert [timing.base for timing in time_runs([shared, other_policy, distilled, larger], {})] == [0, 0, 0, 1]
    assert len(called) == 2


def test_reason_why_models_cannot_be_timed_is_one_sentence(monkeypatch):
    done = type('Done', (), {'returncode': 2, 'stderr': 'a warning\nerror: train_dataloader.dataset.root is gone\n'})
    monkeypatch.setattr('motivation.comparison.timing.subprocess.run', lambda *_, **__: done)
    with pytest.raises(
        TrainingError, match=r'^no forecast, because the models cannot be timed: train_dataloader.*gone$'
    ):
        time_runs([load_config(DIGITS)], {})
