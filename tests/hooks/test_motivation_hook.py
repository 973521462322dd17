from types import SimpleNamespace

import pytest
import torch

from motivation.hooks import MotivationHook
from tests.conftest import small_dual_model


def run(losses, **policy):
    """Feed losses batch by batch; return the model that was active at each batch, and the hook."""
    hook = MotivationHook(policy)
    runner = SimpleNamespace(model=small_dual_model(), seed=0, iter=0, resuming=True, optim_wrapper=None)
    hook.before_run(runner)
    hook.before_train(runner)
    active = []
    for loss in losses:
        active.append(runner.model.active)
        outputs = {'loss': torch.tensor(loss), 'motivated': float(runner.model.active == 'motivated')}
        hook.after_train_iter(runner, 0, outputs=outputs)
    return active, hook, runner


B, M = 'base', 'motivated'


@pytest.mark.parametrize(
    ('drops', 'losses', 'active'),
    [
        # Two drops (batches 1 and 2) wake it for batch 3; the rise at batch 4 ends the spell after batch 4.
        (2, [5, 4, 3, 2, 4, 5, 6], [B, B, B, M, M, B, B]),
        # The streak goes on across the switch: batch 3 is compared with batch 2, whichever model made it.
        (2, [5, 4, 3, 2, 1, 0], [B, B, B, M, M, M]),
        # A spell of a single batch, and a second one after two more drops.
        (2, [5, 4, 3, 9, 8, 7, 9, 9], [B, B, B, M, B, B, M, B]),
        # One drop wakes it for the very next batch.
        (1, [5, 4, 5, 4, 3], [B, B, M, B, M]),
        # Never two drops in a row: never awake.
        (2, [5, 4, 5, 4, 5, 4], [B, B, B, B, B, B]),
        # The first batch is the base model's, whatever comes.
        (1, [0.0, -1.0], [B, B]),
    ],
)
def test_active_model_on_hand_made_losses(drops, losses, active):
    assert run([float(loss) for loss in losses], type='ConsecutiveDrop', drops=drops)[0] == active


def test_trace_records_loss_and_model_of_each_batch():
    _, hook, _ = run([5.0, 4.0, 3.0, 2.0], type='ConsecutiveDrop', drops=2)
    assert list(hook.trace.losses) == [5, 4, 3, 2]
    assert list(hook.trace.motivated) == [0, 0, 0, 1]


def test_switch_transfers_the_weights():
    hook = MotivationHook(dict(type='Always'))
    runner = SimpleNamespace(model=small_dual_model(), seed=0, iter=0, optim_wrapper=None)
    with torch.no_grad():
        runner.model.base.backbone.fc.bias.fill_(3)
    hook.after_train_iter(runner, 0, outputs={'loss': torch.tensor(1.0), 'motivated': 0.0})
    assert runner.model.active == 'motivated' and runner.model.motivated.backbone.fc.bias.tolist() == [3] * 10


def test_resumes_streak_and_trace():
    _, hook, runner = run([5.0, 4.0], type='ConsecutiveDrop', drops=2)
    checkpoint = {}
    hook.before_save_checkpoint(runner, checkpoint)
    restored = MotivationHook(dict(type='ConsecutiveDrop', drops=2))
    restored.after_load_checkpoint(runner, checkpoint)
    restored.after_train_iter(runner, 0, outputs={'loss': torch.tensor(3.0), 'motivated': 0.0})
    assert runner.model.active == 'motivated'
    assert list(restored.trace.losses) == [5, 4, 3]


def test_random_policy_takes_the_seed_of_the_run():
    def draws(seed):
        hook = MotivationHook(dict(type='RandomGate', rate=0.5))
        hook.before_run(SimpleNamespace(seed=seed))
        return [hook.policy.update(1.0) for _ in range(30)]

    assert draws(0) == draws(0) != draws(1)
