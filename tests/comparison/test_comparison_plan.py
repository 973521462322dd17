"""The field ``comparison`` of a config."""

from pathlib import Path

import pytest

from motivation.comparison.compare import Comparison
from motivation.config.checks import check_config
from motivation.config.read import load_config
from motivation.config.same_run import config_differences, describe_hooks, describe_run_config
from motivation.config.seeds import read_seeds
from motivation.errors import ConfigError
from tests.conftest import DIGITS


def written(**plan):
    """A config beside which an arm's config stands, in a folder that is not the current one."""
    Path('mine').mkdir(exist_ok=True)
    Path('mine/other.py').write_text(f'_base_ = {DIGITS!r}\nmotivation = dict(policy=dict(drops=3))')
    path = Path('mine/config.py')
    path.write_text(f'_base_ = {DIGITS!r}\ncomparison = {plan!r}\n')
    return str(path)


def test_comparison_of_a_config_is_run_unless_the_command_line_says_otherwise():
    path = written(arms=['never', 'other.py'], seeds=[4, 5], epochs=7, metric='accuracy/top5')
    of_file = Comparison(path, Path('work'), arms=None, seeds=None, epochs=None, metric=None)
    assert [(job.arm.label, job.seed) for job in of_file.jobs] == [
        ('never', 4), ('other.py', 4), ('never', 5), ('other.py', 5)
    ]  # fmt: skip
    assert of_file.plan.metric == 'accuracy/top5'
    text = of_file._prepare(of_file.jobs[1]).read_text()
    assert 'drops=3' in text and 'max_epochs=7' in text and 'seed=4' in text

    given = Comparison(path, Path('other'), arms=['always'], seeds=[0], epochs=2, metric='accuracy/top1')
    assert [(job.arm.label, job.seed) for job in given.jobs] == [('always', 0)]
    assert (given.plan.metric, given.plan.epochs) == ('accuracy/top1', 2)


@pytest.mark.parametrize(
    ('given', 'seeds'),
    [
        ('0:3', (0, 1, 2)),
        (['2:4', '7'], (2, 3, 7)),
        ([5, '0:2'], (5, 0, 1)),
        (['9'], (9,)),
        ('3', (3,)),
        ((3, 1), (3, 1)),
    ],
)
def test_ranges_of_seeds_leave_out_their_end_and_keep_the_order(given, seeds):
    assert read_seeds(given) == seeds


@pytest.mark.parametrize(
    'given', [[], '', '3:3', '5:2', '0:', ':4', ['0:3', 2], [True], [1.0], ['-1'], [None], '0:20:2', ['²']]
)
def test_what_is_no_seed_or_gives_one_twice_is_refused(given):
    with pytest.raises(ValueError, match='a list of seeds, each given once'):
        read_seeds(given)


def test_without_a_plan_the_arms_are_those_of_before():
    jobs = Comparison(DIGITS, Path('work')).jobs
    assert list(dict.fromkeys(job.arm.label for job in jobs)) == ['never', 'always', 'consecutive', 'random', 'matched']
    assert sorted({job.seed for job in jobs}) == [0, 1, 2]


def test_a_run_does_not_contain_the_comparison_and_is_the_same_run_with_another():
    planned = Comparison(written(arms=['never', 'other.py']), Path('work'))
    assert all('comparison' not in planned._prepare(job).read_text() for job in planned.jobs[:2])
    with_plan, without = (load_config(DIGITS, options) for options in ({'comparison.seeds': [3]}, {}))
    check_config(with_plan)  # which training does
    assert not list(config_differences(*map(describe_run_config, (with_plan, without))))
    assert describe_hooks(with_plan) == describe_hooks(without)


@pytest.mark.parametrize(
    ('plan', 'message'),
    [
        (
            dict(sedes=[0]),
            r"^comparison\.sedes is not an argument of ComparisonPlan; did you mean 'seeds' or 'sweep'\?$",
        ),
        (dict(arms='never'), r"^comparison\.arms must be a list, got 'never'$"),
        (dict(arms=[]), r'^comparison\.arms must be a list that is not empty, got \[\]$'),
        (dict(seeds=[-1]), r'^comparison\.seeds must be a list of seeds, .*at least 0, .*, got \[-1\]$'),
        (dict(epochs=0), r'^comparison\.epochs must be at least 1 or None, got 0$'),
        (dict(seeds=[1, 1]), r'^comparison\.seeds must be .*each given once .*, got \[1, 1\]$'),
        (dict(seeds='0-5'), r"^comparison\.seeds must be .* ranges such as '0:20', got '0-5'$"),
        (dict(until='done'), r"^comparison\.until must be 'decided' or None, got 'done'"),
        (
            dict(arms=['nevr']),
            r"^comparison\.arms 'nevr' is neither an arm nor a registered policy; did you mean 'never'",
        ),
        (dict(arms=['never', 'random']), r"^comparison\.arms 'random' is derived from the runs of another arm"),
    ],
)
def test_invalid_comparison_is_one_sentence_with_its_field(plan, message):
    with pytest.raises(ConfigError, match=message):
        Comparison(written(**plan), Path('work'))


def test_what_the_command_line_says_wrongly_is_named_as_its_option():
    with pytest.raises(ConfigError, match=r'^--epochs must be a whole number of at least 1, got 0'):
        Comparison(written(epochs=3), Path('work'), epochs=0)
