"""A policy that keeps a run within a compute budget."""

import math
from typing import Annotated, Any, Literal

from annotated_types import Ge

from motivation.errors import ConfigError
from motivation.policies.combinators import CompositePolicy, PolicyConfig, build_inner
from motivation.policies.compute import Compute
from motivation.registry import POLICIES
from motivation.utils.arguments import Share, check_one_of, checked


@POLICIES.register_module()
class Budget(CompositePolicy):
    """A policy that lets another activate the motivated model as long as the run stays within a budget.

    A motivated batch is granted only if the run would still end within the budget with the base model training all
    later batches except the tail. The budget is therefore never exceeded, whatever the inner policy decides. It must
    be the outermost policy, because an outer one could overrule it.

    Args:
        policy: Config of the inner policy.
        max_train_flops: Maximum training FLOPs of both models together. Give exactly one of the three budgets.
        min_saving: Minimum ``saving``: the training FLOPs of the motivated model alone on the same batches, divided
            by those of the run; at least 1.
        max_fraction: Maximum fraction of the batches of the run that are motivated, 0 to 1.
        mode: ``'stop'`` (default) grants every request until the budget is spent; ``'thin'`` never spends a larger
            fraction of the budget than the fraction of the batches done, so that it lasts until the end.
        tail: Fraction of the batches of the run, at its end, that are motivated whatever the inner policy decides;
            0 by default, rounded down to whole batches. Their compute is reserved from the start.

    Raises:
        ValueError: A value is out of range, the number of budgets given is not one, or (after the first batch) the
            budget is too small for the base model alone or for the tail.

    Example:
        >>> motivation = dict(policy=dict(
        ...     type='Budget', min_saving=2.0, mode='thin', policy=dict(type='ConsecutiveDrop', drops=1)))
    """

    bounds_run = True

    @checked
    def __init__(
        self,
        policy: PolicyConfig,
        max_train_flops: Annotated[float, Ge(0)] | None = None,
        min_saving: Annotated[float, Ge(1)] | None = None,
        max_fraction: Share | None = None,
        mode: Literal['stop', 'thin'] = 'stop',
        tail: Share = 0.0,
    ) -> None:
        check_one_of(max_train_flops=max_train_flops, min_saving=min_saving, max_fraction=max_fraction)
        self.policy = build_inner(policy, 'policy')
        self.max_train_flops = max_train_flops
        self.min_saving = min_saving
        self.max_fraction = max_fraction
        self.mode = mode
        self.tail = tail
        self.granted = 0
        super().__init__([self.policy])

    @property
    def signals(self) -> frozenset[str]:
        own = {'iter', 'max_iters'} if self.max_fraction is not None else {'iter', 'max_iters', 'compute'}
        return super().signals | own

    def update(self, loss: float, **signals: Any) -> bool:
        (wanted,) = self._updates(loss, signals)
        batches_done, max_iters = signals['iter'], signals['max_iters']
        if batches_done >= max_iters:
            return False  # no batch follows
        tail = min(_whole_part(self.tail * max_iters), max_iters - 1)
        room = self._room(max_iters, signals.get('compute'))
        if batches_done == 1:
            self._check_room(room, tail, signals.get('compute'))
        begins_tail = max_iters - tail
        if batches_done < begins_tail:
            available = room - tail
            granted = (
                wanted
                and available >= 1
                and (self.mode == 'stop' or self._in_pace(available, (batches_done + 1) / begins_tail))
            )
        else:
            granted = room >= 1
        self.granted += granted
        return granted

    def _room(self, max_iters: int, compute: Compute | None) -> int:
        """Return how many more motivated batches fit into the budget if all others are the base model's."""
        if self.max_fraction is not None:
            return _whole_part(self.max_fraction * max_iters) - self.granted
        assert compute is not None
        further = compute.batch['motivated'] - compute.batch['base']
        return int((self._limit(compute) - compute.spent - compute.left['base']) // max(further, 1))

    def _limit(self, compute: Compute) -> float:
        if self.max_train_flops is not None:
            return self.max_train_flops
        assert self.min_saving is not None
        return compute.motivated_alone / self.min_saving

    def _in_pace(self, available: int, over: float) -> bool:
        return self.granted + 1 <= (self.granted + available) * over

    def _check_room(self, room: int, tail: int, compute: Compute | None) -> None:
        """Check that the budget can be kept."""
        if room >= tail:
            return
        name = next(
            name for name in ('max_train_flops', 'min_saving', 'max_fraction') if getattr(self, name) is not None
        )
        problem = f'Budget.{name} is {getattr(self, name)!r}, '
        if compute is not None and room < 0:
            base = compute.spent + compute.left['base']
            raise ConfigError(
                f'{problem}but training the base model alone costs {base:.4g} FLOPs, above the budget of '
                f'{self._limit(compute):.4g}; give more'
            )
        raise ConfigError(
            f'{problem}which has room for {room} motivated batches, but tail is {self.tail!r}, '
            f'which needs {tail}; give more, or a shorter tail'
        )

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), 'granted': self.granted}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.granted = state_dict['granted']


def _whole_part(batches: float) -> int:
    """Round down, with a tolerance for floating-point errors: 0.29 * 100 is slightly below 29."""
    return math.floor(batches + 1e-9)
