"""The hook that ends a run when a metric no longer improves."""

from typing import Annotated, Any, Literal

from annotated_types import Ge
from mmengine.hooks import Hook
from mmengine.runner import Runner

from motivation.errors import counted
from motivation.registry import HOOKS
from motivation.structures import lower_is_better
from motivation.utils.arguments import Count, checked


@HOOKS.register_module()
class EarlyStoppingHook(Hook):
    """Ends a run when a metric of one model has not improved for some validations.

    The run ends as after its last epoch: with a checkpoint, the models and the report. Schedules go on as for the whole
    run until then. Unlike MMEngine's hook of this name it says why the run ends, and does not end it for a metric that
    is not a number, which counts as no improvement.

    Args:
        monitor: The metric, such as ``'base/accuracy/top1'``.
        patience: Validations without an improvement after which the run ends, at least 1. Default: 5.
        min_delta: Least difference from the best value so far that is an improvement, in the unit of the metric, at
            least 0. Default: 0, any difference.
        rule: ``'greater'`` or ``'less'``: which values are better. ``None`` (default) for ``'less'`` for losses and
            ``'greater'`` for all others.

    Raises:
        ArgumentError: An argument is invalid.

    Example:
        >>> custom_hooks = [dict(type='EarlyStoppingHook', monitor='base/accuracy/top1', patience=10)]
    """

    metric_argument = 'monitor'

    # After the hooks that keep the results of the validation.
    priority = 'LOWEST'

    @checked
    def __init__(
        self,
        monitor: str,
        patience: Count = 5,
        min_delta: Annotated[float, Ge(0)] = 0.0,
        rule: Literal['greater', 'less'] | None = None,
    ) -> None:
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        less = lower_is_better(monitor) if rule is None else rule == 'less'
        self._sign = -1.0 if less else 1.0
        self._best: float | None = None
        self._waited = 0

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if not runner.trains or metrics is None:
            return
        value = float(metrics[self.monitor])
        gain = self._sign * (value - self._best) if self._best is not None else 0.0
        if (self._best is None and value == value) or gain > self.min_delta:  # a NaN is no improvement
            self._best, self._waited = value, 0
            return
        self._waited += 1
        if self._waited >= self.patience:
            runner.train_loop.stop_training = True
            best = 'it was never a number' if self._best is None else f'the best is {self._best:.4g}'
            by = f' by more than {self.min_delta:g}' if self.min_delta else ''
            runner.announce(
                f'the run ends after epoch {runner.epoch}: {self.monitor} has not improved{by} in '
                f'{counted(self._waited, "validation")}; {best}'
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and the number of validations since then."""
        return {'best': self._best, 'waited': self._waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
        self._best, self._waited = state_dict['best'], state_dict['waited']
