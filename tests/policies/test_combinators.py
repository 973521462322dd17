import pytest

from motivation.errors import ConfigError
from motivation.policies import All, Any, ConsecutiveDrop, During, LimitSpells, Not, SwitchPolicy
from tests.policies.simulation import Simulation, decide

DROP = dict(type='ConsecutiveDrop', drops=1)
ONE = ConsecutiveDrop(drops=1)
BELOW = dict(type='LossBelow', threshold=3)
LOSSES = [5, 4, 2, 2.5, 6, 1]  # drops: 0 1 1 0 0 1; below three: 0 0 1 1 0 1


def flags(*values):
    return [bool(value) for value in values]


def test_truth_tables():
    assert decide(All([DROP, BELOW]), LOSSES) == flags(0, 0, 1, 0, 0, 1)
    assert decide(Any([DROP, BELOW]), LOSSES) == flags(0, 1, 1, 1, 0, 1)
    assert decide(Not(DROP), LOSSES) == flags(1, 0, 0, 1, 1, 0)


def test_every_inner_policy_is_updated_after_every_batch():
    """If the second were not updated where the first declines, it would miss losses and miscount."""
    two = dict(type='ConsecutiveDrop', drops=2)
    assert decide(All([two, DROP]), [5, 4, 3, 2]) == flags(0, 0, 1, 1)
    assert decide(Any([DROP, two]), [5, 4, 3, 2]) == flags(0, 1, 1, 1)


class Recorder(SwitchPolicy):
    def __init__(self):
        self.seen = []

    def update(self, loss, grad_norm, epoch):
        self.seen.append((loss, grad_norm, epoch))
        return True


def test_inner_policies_receive_the_signals_they_declare():
    recorder = Recorder()
    policy = All([recorder, dict(type='Periodic', on=1, off=1)])
    assert policy.signals == {'grad_norm', 'epoch', 'iter'}
    decide(policy, [7, 8], grad_norm=[0.5, 0.25], batches_per_epoch=1)
    assert recorder.seen == [(7, 0.5, 1), (8, 0.25, 2)]


@pytest.mark.parametrize(
    ('options', 'motivated'),
    [
        (dict(start=0.25, end=0.5), range(2, 4)),
        (dict(start=0.5), range(4, 8)),
        (dict(start=1, end=3, unit='epoch'), range(2, 6)),
        (dict(start=3, end=5, unit='iter'), range(3, 5)),
    ],
)
def test_during_confines_a_policy_to_a_part_of_the_run(options, motivated):
    """Eight batches, two in each epoch."""
    active = Simulation([0.0] * 8, batches_per_epoch=2).run(During(dict(type='Always'), **options)).active
    assert active == [i in motivated for i in range(8)]


def test_random_gates_with_one_rate_are_independent():
    """If both had the seed of the run, they would always agree."""
    gate = dict(type='RandomGate', rate=0.5)

    def count(policy):
        policy.set_seed(0)
        return sum(decide(policy, [0.0] * 1000))

    assert 180 < count(All([gate, gate])) < 320
    assert 680 < count(Any([gate, gate])) < 820


def test_limit_spells_limits_any_policy():
    active = Simulation([0.0] * 9, batches_per_epoch=9).run(LimitSpells(dict(type='Always'), max_spell=2, cooldown=3))
    assert active.active == flags(0, 1, 1, 0, 0, 0, 1, 1, 0)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: All([]), r'^policies must be a list of policies, .*, got \[\]$'),
        (lambda: Any(DROP), r'^policies must be a list of policies, .*, got \{'),
        (lambda: Not('Never'), r"^policy must be a policy: dict\(type=\.\.\.\), got 'Never'$"),
        (lambda: All([DROP, dict(type='RandomGate', rate=2)]), '^rate must be at most 1, got 2$'),
        (
            lambda: Not(dict(type='Any', policies=[dict(type='ConsecutiveDrop', drops=0)])),
            '^drops must be at least 1, got 0$',
        ),
        (lambda: All([ONE, ONE]), '^policies has the same object twice'),
        (lambda: Not(dict(type='Replay', run='nowhere')), "^run is 'nowhere': 'nowhere' has no switches"),
        (lambda: All([DROP, 5]), r'^policies\.1 must be a policy: .*, got 5$'),
        (lambda: Not(dict(type=5)), r"^\{'type': 5\} cannot be built: TypeError"),
        (lambda: During(DROP, start=2), 'start must be at most 1 where unit is .fraction., got 2'),
        (lambda: During(DROP, start=0.5, end=0.5), 'end must be above start, which is 0.5, got 0.5'),
        (lambda: During(DROP, unit='batch'), "unit must be 'fraction', 'epoch' or 'iter', got 'batch'"),
    ],
)
def test_invalid_inner_policy_is_reported_with_its_position(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
