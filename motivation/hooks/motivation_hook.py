"""Feeds the switch policy and wakes or puts to rest the motivated model."""

from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from motivation.analysis.switch_trace import SwitchTrace
from motivation.policies import SwitchPolicy
from motivation.registry import HOOKS, POLICIES


@HOOKS.register_module()
class MotivationHook(Hook):
    """After every training batch asks the policy which model trains on the next one.

    The runner builds it from the config's ``motivation`` field. Under several processes the policy
    is told the loss averaged over all of them, so that every process decides alike.

    Source: "Motivation is Something You Need", arXiv 2602.21064.

    Args:
        policy: Config of the switch policy.

    Attributes:
        policy: The switch policy.
        trace: Loss and active model of every batch so far.

    Example:
        >>> motivation = dict(policy=dict(type='ConsecutiveDrop', drops=2))
    """

    def __init__(self, policy: dict[str, Any]) -> None:
        self.policy: SwitchPolicy = POLICIES.build(policy)
        self.trace = SwitchTrace()

    def before_run(self, runner: Runner) -> None:
        self.policy.set_seed(runner.seed)

    def before_train(self, runner: Runner) -> None:
        if runner.iter == 0:
            runner.model.deactivate()  # the first batch is the base model's, also after load_from

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        assert outputs is not None
        loss = torch.as_tensor(outputs['loss']).item()
        if get_world_size() > 1:
            mean = torch.tensor(loss, dtype=torch.float64)
            all_reduce(mean, 'mean')
            loss = mean.item()
        self.trace.append(loss, bool(outputs['motivated']))
        if self.policy.update(loss):
            runner.model.activate(runner.optim_wrapper)
        else:
            runner.model.deactivate(runner.optim_wrapper)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        checkpoint['motivation'] = {'policy': self.policy.state_dict(), 'trace': self.trace.state_dict()}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if runner.resuming:
            self.policy.load_state_dict(checkpoint['motivation']['policy'])
            self.trace.load_state_dict(checkpoint['motivation']['trace'])
