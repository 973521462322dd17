"""Budgets, checked with the compute meter, which counts every batch of a simulated run."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motivation.errors import ConfigError
from motivation.policies import Budget
from motivation.policies.combinators import build_inner
from tests.policies.simulation import MACS, Simulation


def base_flops(simulation):
    return MACS['base'].step.flops(len(simulation.sizes), sum(simulation.sizes))


def motivated_flops(simulation):
    return MACS['motivated'].step.flops(len(simulation.sizes), sum(simulation.sizes))


def gate(rate):
    return dict(type='RandomGate', rate=rate, seed=1)


runs = st.fixed_dictionaries(
    {
        'losses': st.integers(2, 12).map(lambda epochs: [0.0] * (5 * epochs)),
        'batch_size': st.integers(4, 9),
        'last_batch': st.integers(1, 4),
        'distillation': st.booleans(),
    }
)
modes = st.sampled_from(['stop', 'thin'])


@settings(max_examples=200, deadline=None)
@given(run=runs, rate=st.floats(0, 1), share=st.floats(0, 1.2), mode=modes)
def test_flops_never_exceed_the_budget(run, rate, share, mode):
    simulation = Simulation(**run)
    base, motivated = base_flops(simulation), motivated_flops(simulation)
    budget = base + share * (motivated - base)
    simulation.run(Budget(gate(rate), max_train_flops=budget, mode=mode))
    assert simulation.meter.total_train_flops <= budget


@settings(max_examples=200, deadline=None)
@given(run=runs, rate=st.floats(0, 1), share=st.floats(0, 1), mode=modes)
def test_saving_never_falls_below_the_minimum(run, rate, share, mode):
    simulation = Simulation(**run)
    largest = motivated_flops(simulation) / base_flops(simulation)
    least = 1 + share * (largest - 1) * 0.999
    simulation.run(Budget(gate(rate), min_saving=least, mode=mode))
    assert simulation.meter.motivated_alone_train_flops / simulation.meter.total_train_flops >= least


@settings(max_examples=200, deadline=None)
@given(run=runs, rate=st.floats(0, 1), fraction=st.floats(0, 1), mode=modes)
def test_fraction_is_never_exceeded(run, rate, fraction, mode):
    simulation = Simulation(**run).run(Budget(gate(rate), max_fraction=fraction, mode=mode))
    assert sum(simulation.active) <= fraction * len(simulation.active) + 1e-9


@settings(max_examples=200, deadline=None)
@given(run=runs, rate=st.floats(0, 1), tail=st.floats(0, 0.5), further=st.floats(0, 0.5), mode=modes)
def test_tail_is_motivated_and_within_the_budget(run, rate, tail, further, mode):
    simulation = Simulation(**run)
    batches = len(simulation.losses)
    fraction = min(tail + further, 1)
    simulation.run(Budget(gate(rate), max_fraction=fraction, tail=tail, mode=mode))
    length = int(tail * batches + 1e-9)
    assert all(simulation.active[batches - length :])
    assert sum(simulation.active) <= fraction * batches + 1e-9


def test_stop_spends_at_once_and_thin_spreads_evenly():
    """A fifth of 50 batches, around a policy that always activates."""
    stop = Simulation([0.0] * 50).run(Budget(dict(type='Always'), max_fraction=0.2)).active
    thin = Simulation([0.0] * 50).run(Budget(dict(type='Always'), max_fraction=0.2, mode='thin')).active
    assert stop == [0 < i <= 10 for i in range(50)]
    assert sum(thin) == 10
    assert [sum(thin[i : i + 10]) for i in range(0, 50, 10)] == [2, 2, 2, 2, 2]


def test_unused_budget_is_less_than_one_motivated_batch():
    """With full batches only, the rest of the budget is too small for another motivated batch."""
    simulation = Simulation([0.0] * 50, last_batch=8)
    budget = base_flops(simulation) * 1.5
    simulation.run(Budget(dict(type='Always'), max_train_flops=budget))
    further = MACS['motivated'].step.flops(1, 8) - MACS['base'].step.flops(1, 8)
    assert 0 <= budget - simulation.meter.total_train_flops < further


@pytest.mark.parametrize(('fraction', 'batches', 'expected'), [(0.29, 100, 29), (0.07, 100, 7), (0.1, 25, 2)])
def test_fractions_are_rounded_down_despite_floating_point_errors(fraction, batches, expected):
    simulation = Simulation([0.0] * batches).run(Budget(dict(type='Always'), max_fraction=fraction, tail=fraction))
    assert sum(simulation.active) == expected and all(simulation.active[batches - expected :])


def test_compute_of_the_tail_is_reserved_first():
    simulation = Simulation([0.0] * 50).run(Budget(dict(type='Always'), max_fraction=0.3, tail=0.2))
    assert simulation.active == [0 < i <= 5 or i >= 40 for i in range(50)]


def test_decides_like_the_inner_policy_if_the_budget_is_large():
    losses = [5, 4, 3, 6, 5, 4, 3, 2, 7, 1]
    inner = dict(type='ConsecutiveDrop', drops=2)
    limited = Simulation(losses).run(Budget(inner, min_saving=1.0)).active
    assert limited == [i >= 3 and losses[i - 1] < losses[i - 2] < losses[i - 3] for i in range(10)]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(max_train_flops=1000),
            r'max_train_flops is 1000, but training the base model alone costs 1\.78e\+04 FLOPs',
        ),
        (dict(min_saving=5.0), r'min_saving is 5\.0, but training the base model alone'),
        (dict(max_fraction=0.1, tail=0.2), r'has room for 5 motivated batches, but tail is 0\.2'),
    ],
)
def test_budget_that_cannot_be_kept_is_refused_after_the_first_batch(options, message):
    simulation = Simulation([0.0] * 50)
    with pytest.raises(ConfigError, match=message):
        simulation.run(Budget(dict(type='Always'), **options))
    assert len(simulation.active) == 1


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({}, 'max_train_flops is None, .*give exactly one of max_train_flops, min_saving, max_fraction'),
        (dict(max_fraction=0.1, min_saving=2), 'give exactly one'),
        (dict(max_fraction=1.1), 'max_fraction must be at most 1 or None, got 1.1'),
        (dict(min_saving=0.5), 'min_saving must be at least 1 or None, got 0.5'),
        (dict(max_fraction=0.5, mode='thick'), "^mode must be 'stop' or 'thin', got 'thick'"),
        (dict(max_fraction=0.5, tail=2), '^tail must be at most 1, got 2$'),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Budget(dict(type='Always'), **options)


@pytest.mark.parametrize(
    'outer',
    [
        lambda budget: dict(type='LimitSpells', min_spell=10, policy=budget),
        lambda budget: dict(type='Any', policies=[budget]),
        lambda budget: dict(type='Budget', min_saving=2, policy=budget),
    ],
)
def test_budget_that_another_policy_could_overrule_is_refused(outer):
    with pytest.raises(
        ConfigError, match='is a Budget, which bounds the whole run and so must be the outermost policy'
    ):
        build_inner(outer(dict(type='Budget', max_fraction=0.1, policy=dict(type='Never'))), 'policy')
