import pytest

from motivation.errors import ConfigError
from motivation.policies import RandomGate


def decisions(policy, count):
    return [policy.update(1.0) for _ in range(count)]


def test_activates_at_its_rate():
    batches, rate = 20_000, 0.17
    gate = RandomGate(rate, seed=3)
    assert abs(sum(decisions(gate, batches)) / batches - rate) < 4 * (rate * (1 - rate) / batches) ** 0.5


def test_rates_of_zero_and_one_are_certain():
    assert not any(decisions(RandomGate(0, seed=0), 1000))
    assert all(decisions(RandomGate(1, seed=0), 1000))


def test_uses_the_seed_of_the_run_unless_it_has_its_own():
    def with_run_seed(run_seed, own=None):
        gate = RandomGate(0.5, seed=own)
        gate.set_seed(run_seed)
        return decisions(gate, 50)

    assert with_run_seed(1) == with_run_seed(1) != with_run_seed(2)
    assert with_run_seed(1, own=7) == with_run_seed(2, own=7)


def test_restored_gate_continues_its_sequence():
    original, restored = RandomGate(0.5, seed=0), RandomGate(0.5, seed=99)
    decisions(original, 37)
    restored.load_state_dict(original.state_dict())
    assert decisions(restored, 100) == decisions(original, 100)


@pytest.mark.parametrize('rate', [-0.1, 1.1, 'often', None])
def test_invalid_rate_is_refused(rate):
    with pytest.raises(ConfigError, match=r'^rate must be (at least 0|at most 1|a finite number), got '):
        RandomGate(rate)


@pytest.mark.parametrize('seed', [-1, 1.5, 'x', [1]])
def test_invalid_seed_is_refused(seed):
    with pytest.raises(ConfigError, match=r'^seed must be (at least 0|a whole number) or None, got '):
        RandomGate(0.5, seed=seed)
