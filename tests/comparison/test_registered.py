"""The claims of a study: what is refused before it runs, and what they come to."""

from pathlib import Path

import pytest
from scipy.stats import ttest_1samp

from motivation.comparison.compare import Comparison
from motivation.comparison.registered import judge_registered
from motivation.comparison.sequential import SequentialTest
from motivation.comparison.statistics import FIXED
from motivation.config.claims import read_claims
from motivation.errors import ConfigError
from tests.conftest import DIGITS

ARMS = ['never', 'always', 'config', 'distillation']


def arm(label, base=None, motivated=None, flops=(100,) * 5):
    base, motivated = (values or [None] * 5 for values in (base, motivated))
    keys = ('seed', 'base', 'motivated', 'total_train_flops')
    return {
        'arm': label,
        'runs': [dict(zip(keys, run, strict=True)) for run in zip(range(5), base, motivated, flops, strict=True)],
    }


# The base model of config gains 1.0 to 1.8 points on never and 0.4 to 0.6 on another; its motivated model loses 0.1 to 0.4.
RUNS = {
    'metric': 'accuracy/top1',
    'arms': [
        arm('never', [50, 51, 52, 51, 50], flops=(100,) * 5),
        arm('other', [50.8, 51.9, 52.5, 52.2, 51], flops=(100,) * 5),
        arm('always', motivated=[60, 61, 62, 61, 60], flops=(400,) * 5),
        arm('config', [51.2, 52.4, 53.0, 52.8, 51.4], [59.9, 60.8, 61.6, 60.8, 59.9], (250,) * 5),
    ],
}


def judge(*claims, test=FIXED, runs=RUNS):
    return judge_registered(read_claims(claims), runs, test)


def better(by=0.0, model='base', than='never'):
    return dict(arm='config', model=model, better_than=than, by=by)


def test_margin_is_what_the_difference_is_tested_against():
    gains = [1.2, 1.4, 1.0, 1.8, 1.4]
    for by, verdict in ((0, 'supported'), (0.9, 'supported'), (1, 'not decided'), (2.5, 'contradicted')):
        (claim,) = judge(better(by))
        assert claim['verdict'] == verdict
        assert claim['p'] == claim['adjusted_p'] == pytest.approx(ttest_1samp(gains, by).pvalue)
    assert claim['claim'] == 'config: its base model is better than that of never by more than 2.5 points'
    assert claim['evidence'] == '+1.36 points, 95 % interval +0.99 to +1.73 (5 seeds)'


def test_negative_margin_allows_the_model_to_be_worse_by_as_much():
    claims = judge(better(-0.5, 'motivated', 'always'), better(0, 'motivated', 'always'))
    assert [claim['verdict'] for claim in claims] == ['supported', 'contradicted']
    assert claims[0]['claim'] == 'config: its motivated model is less than 0.5 points worse than that of always'


def test_of_a_loss_the_lower_is_better_and_the_margin_too():
    runs = {**RUNS, 'metric': 'loss/cross_entropy'}
    claims = judge(better(), better(-1.3), better(-2), runs=runs)
    assert [claim['verdict'] for claim in claims] == ['contradicted', 'not decided', 'supported']


def test_claim_against_several_arms_is_of_each_of_them():
    gains = {'never': [1.2, 1.4, 1.0, 1.8, 1.4], 'other': [0.4, 0.5, 0.5, 0.6, 0.4]}
    p = {label: ttest_1samp(values, 0).pvalue for label, values in gains.items()}
    (claim,) = judge(better(than=['never', 'other']))
    assert claim['verdict'] == 'supported' and claim['p'] == pytest.approx(max(p.values()))
    assert claim['evidence'].count('seeds') == 2 and 'against other' in claim['evidence']
    (claim,) = judge(better(0.9, than=['never', 'other']))  # true of the first arm only
    assert claim['verdict'] == 'contradicted'
    assert claim['p'] == pytest.approx(2 * ttest_1samp(gains['other'], 0.9).pvalue)


def test_costs_of_several_arms_are_added_and_a_factor_met_exactly_decides_nothing():
    cheaper = dict(arm='config', cheaper_than='always')
    both = dict(arm='config', cheaper_than=['never', 'always'])
    claims = judge(
        cheaper, cheaper | dict(factor=1.6), cheaper | dict(factor=1.7), both | dict(factor=1.9), both | dict(factor=2)
    )
    assert [claim['verdict'] for claim in claims] == [
        'supported', 'not decided', 'contradicted', 'supported', 'not decided',
    ]  # fmt: skip
    assert claims[3]['claim'] == 'config: 1.9 times its training FLOPs are fewer than those of never + always'
    assert claims[3]['evidence'] == '+50.00 % saved, 95 % interval +50.00 to +50.00 (5 seeds); 47.37 needed'


def test_claim_without_enough_seeds_counts_in_the_correction_of_the_others():
    few = {
        **RUNS,
        'arms': [*RUNS['arms'][:-1], {**RUNS['arms'][-1]}, {'arm': 'late', 'runs': RUNS['arms'][-1]['runs'][:2]}],
    }
    late = dict(arm='late', model='base', better_than='never')
    first, second = judge(better(), late, runs=few)
    assert first['adjusted_p'] == pytest.approx(2 * first['p'])
    assert (second['verdict'], second['p'], second['adjusted_p']) == ('not decided', None, None)


def test_sequential_test_judges_and_shows_its_own_interval():
    (claim,) = judge(better(), test=SequentialTest())
    assert claim['verdict'] == 'supported' and '95 % confidence sequence' in claim['evidence']
    assert claim['p'] == SequentialTest().p_values([1.2, 1.4, 1.0, 1.8, 1.4]).above


@pytest.mark.parametrize(
    ('claim', 'message'),
    [
        (dict(model='base', better_than='never'), r'claims\.0\.arm is missing; there is arm, better_than'),
        (dict(arm='config'), r'claims\.0\.better_than and cheaper_than are neither given; give one of them'),
        (better() | dict(cheaper_than='always'), r'claims\.0\.better_than and cheaper_than are both given'),
        (dict(arm='config', better_than='never'), r"claims\.0\.model is missing; say whether the 'base' or"),
        (better() | dict(factor=2), r'claims\.0\.factor is 2, which does not apply to better_than; leave it out'),
        (dict(arm='config', cheaper_than='always', by=2), r'claims\.0\.by is 2, which does not apply to cheaper_than'),
        (better() | dict(arm='confg'), r"claims\.0\.arm 'confg' is not an arm; did you mean 'config'\?"),
        (better(than=['never', 'nevr']), r"claims\.0\.better_than 'nevr' is not an arm; did you mean 'never'"),
        (better(than='always'), r"claims\.0\.better_than 'always' has no base model; it has the motivated"),
        (better(model='motivated', than='never'), r"claims\.0\.better_than 'never' has no motivated model"),
        (better(than='config'), r"claims\.0\.better_than 'config' would be compared with itself"),
        (
            dict(arm='distillation', model='motivated', better_than='always'),
            r"claims\.0\.better_than 'always' would be compared with itself; name different arms",
        ),
        (dict(arm='config', cheaper_than=['always', 'always']), "'always' would be compared with itself"),
        (better() | dict(metric='loss'), r'claims\.0\.metric is not an argument of Claim'),
        (better() | dict(model='teacher'), r"claims\.0\.model must be 'base' or 'motivated' or None, got 'teacher'"),
        (dict(arm='config', cheaper_than='always', factor=0), r'claims\.0\.factor must be above 0, got 0'),
        (better(by='0.5'), r"claims\.0\.by must be a finite number, got '0\.5'"),
    ],
)
def test_claim_that_cannot_be_decided_is_refused_before_the_first_run(claim, message):
    with pytest.raises(ConfigError, match=rf'^comparison\.{message}' if message[0] != "'" else message):
        compare([claim])


def compare(claims, arms=ARMS, **given):
    Path('study.py').write_text(f'_base_ = {DIGITS!r}\ncomparison = {dict(arms=arms, claims=claims)!r}\n')
    return Comparison('study.py', Path('work'), **given)


def test_claim_that_is_stated_twice_is_refused():
    with pytest.raises(ConfigError, match=r'^comparison\.claims\.2 is claims\.0 again; state each claim once'):
        compare([better(), better(1), better()])


def test_claims_of_the_published_studies_can_be_stated():
    """Claims 1 to 4 of docs/evidence.md, "alone" being each of the two schedules."""
    cosine = [f'letter.py:motivation.policy.type={name}' for name in ('Never', 'Always')]
    Path('letter.py').write_text(f'_base_ = {DIGITS!r}\n')
    claims = [
        better(than=['never', cosine[0]]),
        better(model='motivated', than='always:max_epochs=47%'),
        better(-0.5, 'motivated', ['always', cosine[1]]),
        better(0, 'motivated', ['always', cosine[1]]),
        dict(arm='config', cheaper_than='always', factor=1.6),
        dict(arm='config', cheaper_than=['never', 'always'], factor=2),
        dict(arm='distillation', model='motivated', better_than='config'),  # its motivated model is its teacher
    ]
    compare(claims, [*ARMS, *cosine, 'always:max_epochs=47%'])


def test_claim_on_flops_that_no_run_counts_is_refused():
    with pytest.raises(
        ConfigError, match=r"^comparison\.claims\.1 needs the FLOPs of 'never', which has no default_hooks"
    ):
        compare([better(), dict(arm='config', cheaper_than='never')], options={'default_hooks.compute_meter': None})


@pytest.mark.parametrize(
    ('claims', 'given', 'message'),
    [
        (
            [better()],
            dict(seeds=['0:2']),
            r'^--until decided needs at least 4 seeds to decide 1 claim, got 2; give more, such as --seeds',
        ),
        (None, {}, r'^--until decided needs comparison\.claims in the config, which say what shall be decided$'),
    ],
)
def test_until_decided_needs_claims_and_seeds(claims, given, message):
    with pytest.raises(ConfigError, match=message):
        compare(claims, until='decided', **given)
