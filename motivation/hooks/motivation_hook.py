"""The hook that asks the switch policy after every batch which model is active next."""

from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from motivation.hooks.policy_signals import Signals
from motivation.policies import SwitchPolicy
from motivation.policies.switch_trace import TRACE_NAME, SwitchTrace
from motivation.registry import HOOKS, POLICIES
from motivation.utils.checkpoint import check_plain


@HOOKS.register_module()
class MotivationHook(Hook):
    """Asks the policy after every training batch which model trains on the next one.

    The runner builds the hook from the config's ``motivation`` field. With several processes the policy receives the
    loss averaged over all of them, so that every process decides alike. After each epoch the hook writes the switch
    trace to ``switches.npz`` in the work_dir.

    Source: "Motivation is Something You Need", arXiv 2602.21064.

    Args:
        policy: Config of the switch policy.

    Attributes:
        policy: The switch policy.
        trace: Loss, active model and decision of every batch so far.

    Example:
        >>> motivation = dict(policy=dict(type='ConsecutiveDrop', drops=2))
    """

    def __init__(self, policy: dict[str, Any]) -> None:
        self.policy: SwitchPolicy = POLICIES.build(policy)
        self.trace = SwitchTrace()
        self._signals: Signals | None = None

    def before_run(self, runner: Runner) -> None:
        self.policy.set_seed(runner.seed)
        if runner.trains:
            self._signals = Signals(runner, self.policy.signals, self.policy.signal_options)
            runner.checkpointer.register('policy', self.policy)
            runner.checkpointer.register('switch_trace', self.trace)

    def before_train(self, runner: Runner) -> None:
        if runner.iter == 0:
            if runner.model.pretraining is not None:
                runner.logger.info(f'pretrained weights: {runner.model.pretraining}')
            runner.model.deactivate()  # the first batch is the base model's, also after load_from
        runner.model.follow(self.policy, runner.optim_wrapper)
        check_plain(self.policy.state_dict(), f'{type(self.policy).__name__}.state_dict()')

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        assert self._signals is not None
        step = runner.last_step
        decision = motivated = step.model == 'motivated'
        if step.stepped:  # otherwise the decision stays
            decision = runner.model.motivation.observe(step.loss, **self._signals.read(step))
        self.trace.append(runner.epoch, step.loss, motivated, decision)

    def after_train_epoch(self, runner: Runner) -> None:
        self._save_trace(runner)

    def after_train(self, runner: Runner) -> None:
        self._save_trace(runner)

    def _save_trace(self, runner: Runner) -> None:
        if runner.rank == 0:
            folder = Path(runner.work_dir)
            runner.unwritten.try_to_write(folder / TRACE_NAME, lambda: self.trace.save(folder))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self._signals is not None:
            self._signals.metrics = metrics

    def state_dict(self) -> dict[str, Any]:
        """Return the validation results that the policy has not received yet."""
        assert self._signals is not None
        return {'metrics': self._signals.metrics}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
        assert self._signals is not None
        self._signals.metrics = state_dict['metrics']
