"""Policies made of policies."""

import random
import typing
from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import Ge

from motivation.errors import ArgumentError
from motivation.policies.spell_limits import SpellLimits
from motivation.policies.switch_policy import SwitchPolicy
from motivation.registry import POLICIES
from motivation.utils.arguments import Count, checked

PolicyConfig = SwitchPolicy | dict[str, typing.Any]


def build_inner(config: PolicyConfig, field: str) -> SwitchPolicy:
    """Build a policy that another one is made of.

    Args:
        config: Its config, or the policy itself.
        field: The field of the outer policy it stands in, for messages.

    Raises:
        ConfigError: It is neither, the policy refuses an argument, or it must not be inside another.
    """
    if not isinstance(config, SwitchPolicy) and not (isinstance(config, dict) and 'type' in config):
        raise ArgumentError(field, f'must be a policy: dict(type=...), got {config!r}')
    policy = config if isinstance(config, SwitchPolicy) else POLICIES.build(config)
    if policy.bounds_run:
        raise ArgumentError(
            field,
            f'is a {type(policy).__name__}, which bounds the whole run and so must be the outermost policy; put the others '
            'into its policy',
        )
    return policy


class CompositePolicy(SwitchPolicy):
    """A policy made of others: hands on their signals, seeds and state.

    Args:
        policies: The policies it is made of.
    """

    def __init__(self, policies: Sequence[SwitchPolicy]) -> None:
        self._inner = list(policies)
        self._asked = [sorted(policy.signals) for policy in self._inner]  # once, not at every batch

    @property
    def signals(self) -> frozenset[str]:
        return frozenset().union(*(policy.signals for policy in self._inner))

    def set_seed(self, seed: int) -> None:
        draws = random.Random(seed)
        for policy in self._inner:  # each its own, or two gates of one rate would always agree
            policy.set_seed(draws.getrandbits(32))

    def state_dict(self) -> dict[str, typing.Any]:
        return {'policies': [policy.state_dict() for policy in self._inner]}

    def load_state_dict(self, state_dict: dict[str, typing.Any]) -> None:
        for policy, state in zip(self._inner, state_dict['policies'], strict=True):
            policy.load_state_dict(state)

    def _updates(self, loss: float, signals: dict[str, typing.Any]) -> list[bool]:
        """Tell every policy of the batch, and each the signals it asked for; return what they say."""
        return [
            policy.update(loss, **{name: signals[name] for name in asked})
            for policy, asked in zip(self._inner, self._asked, strict=True)
        ]


def _build_list(policies: typing.Any) -> list[SwitchPolicy]:
    if not isinstance(policies, (list, tuple)) or not policies:
        raise ArgumentError('policies', f'must be a list of policies, [dict(type=...), ...], got {policies!r}')
    return [build_inner(policy, f'policies.{index}') for index, policy in enumerate(policies)]


@POLICIES.register_module()
class All(CompositePolicy):
    """Motivated while every one of its policies says so.

    Args:
        policies: Configs of at least one policy.

    Raises:
        ConfigError: There is none, or one refuses an argument.

    Example:
        >>> motivation = dict(policy=dict(type='All', policies=[
        ...     dict(type='ConsecutiveDrop', drops=1), dict(type='GradientNorm', below=1.0)]))
    """

    def __init__(self, policies: Sequence[PolicyConfig]) -> None:
        self.policies = _build_list(policies)
        super().__init__(self.policies)

    def update(self, loss: float, **signals: typing.Any) -> bool:
        return all(self._updates(loss, signals))


@POLICIES.register_module()
class Any(CompositePolicy):
    """Motivated while at least one of its policies says so.

    Args:
        policies: Configs of at least one policy.

    Raises:
        ConfigError: There is none, or one refuses an argument.

    Example:
        >>> motivation = dict(policy=dict(type='Any', policies=[
        ...     dict(type='ConsecutiveDrop', drops=3), dict(type='Plateau', patience=100)]))
    """

    def __init__(self, policies: Sequence[PolicyConfig]) -> None:
        self.policies = _build_list(policies)
        super().__init__(self.policies)

    def update(self, loss: float, **signals: typing.Any) -> bool:
        return any(self._updates(loss, signals))


@POLICIES.register_module()
class Not(CompositePolicy):
    """Motivated while its policy says that it should not be.

    Args:
        policy: Config of the policy.

    Example:
        >>> motivation = dict(policy=dict(type='Not', policy=dict(type='LossBelow', threshold=0.5)))
    """

    def __init__(self, policy: PolicyConfig) -> None:
        self.policy = build_inner(policy, 'policy')
        super().__init__([self.policy])

    def update(self, loss: float, **signals: typing.Any) -> bool:
        return not self._updates(loss, signals)[0]


@POLICIES.register_module()
class During(CompositePolicy):
    """Lets its policy decide during a part of the run; the base model trains in the rest.

    The policy is told of every batch, also outside of that part, so that what it counts is complete.

    Args:
        policy: Config of the policy.
        start: Where the part begins.
        end: Where it ends; ``None`` for the end of the run.
        unit: What ``start`` and ``end`` count: ``'fraction'`` of the run's batches, 0 to 1, or
            ``'epoch'`` or ``'iter'`` (batches), from 0.

    Raises:
        ConfigError: A value is out of range, or ``end`` is not after ``start``.

    Example:
        >>> motivation = dict(policy=dict(
        ...     type='During', start=0.5, policy=dict(type='ConsecutiveDrop', drops=1)))
    """

    @checked
    def __init__(
        self,
        policy: PolicyConfig,
        start: Annotated[float, Ge(0)] = 0,
        end: Annotated[float, Ge(0)] | None = None,
        unit: Literal['fraction', 'epoch', 'iter'] = 'fraction',
    ) -> None:
        for name, value in (('start', start), ('end', end)):
            if unit == 'fraction' and value is not None and value > 1:
                raise ArgumentError(name, f'must be at most 1 where unit is {unit!r}, got {value!r}')
        if end is not None and end <= start:
            raise ArgumentError('end', f'must be above start, which is {start!r}, got {end!r}')
        self.policy = build_inner(policy, 'policy')
        self.start = start
        self.end = end
        self.unit = unit
        self._clock = 'progress' if unit == 'fraction' else unit
        super().__init__([self.policy])

    @property
    def signals(self) -> frozenset[str]:
        return super().signals | {self._clock}

    def update(self, loss: float, **signals: typing.Any) -> bool:
        (wanted,) = self._updates(loss, signals)
        now = signals[self._clock]
        return wanted and self.start <= now and (self.end is None or now < self.end)


@POLICIES.register_module()
class LimitSpells(CompositePolicy):
    """Gives the spells of any policy a minimum, a maximum and a rest after them.

    Args:
        policy: Config of the policy.
        min_spell: Motivated batches of a spell at least.
        max_spell: Motivated batches of a spell at most; ``None`` for no limit.
        cooldown: Base batches after a spell at least.

    Raises:
        ConfigError: A value is out of range.

    Example:
        >>> motivation = dict(policy=dict(
        ...     type='LimitSpells', min_spell=10, policy=dict(type='RandomGate', rate=0.01)))
    """

    @checked
    def __init__(
        self,
        policy: PolicyConfig,
        min_spell: Count = 1,
        max_spell: Count | None = None,
        cooldown: Annotated[int, Ge(0)] = 0,
    ) -> None:
        self._limits = SpellLimits(min_spell, max_spell, cooldown)
        self.policy = build_inner(policy, 'policy')
        self.min_spell = min_spell
        self.max_spell = max_spell
        self.cooldown = cooldown
        super().__init__([self.policy])

    def update(self, loss: float, **signals: typing.Any) -> bool:
        return self._limits.decide(self._updates(loss, signals)[0])

    def state_dict(self) -> dict[str, typing.Any]:
        return {**super().state_dict(), 'limits': self._limits.state_dict()}

    def load_state_dict(self, state_dict: dict[str, typing.Any]) -> None:
        super().load_state_dict(state_dict)
        self._limits.load_state_dict(state_dict['limits'])
