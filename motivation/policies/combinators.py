"""Policies that combine or modify other policies."""

import random
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from annotated_types import Ge

from motivation.errors import ArgumentError, ConfigError
from motivation.policies.spell_limits import SpellLimits
from motivation.policies.switch_policy import SwitchPolicy
from motivation.registry import POLICIES
from motivation.utils.arguments import Count, checked

PolicyConfig = SwitchPolicy | dict[str, typing.Any]


def build_inner(config: PolicyConfig, field: str) -> SwitchPolicy:
    """Build a policy inside another one.

    Args:
        config: Config of the policy, or the policy itself.
        field: Field of the outer policy that holds it, for error messages.

    Raises:
        ValueError: ``config`` is neither, an argument is invalid, or the policy must be the outermost one.
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
    """Base class of policies that contain others: passes on signals, seeds and state.

    Args:
        policies: The inner policies.
    """

    def __init__(self, policies: Sequence[SwitchPolicy]) -> None:
        self._inner = list(policies)
        self._asked = [sorted(policy.signals) for policy in self._inner]  # computed once, not at every batch

    @property
    def signals(self) -> frozenset[str]:
        return frozenset().union(*(policy.signals for policy in self._inner))

    @property
    def signal_options(self) -> Mapping[str, Mapping[str, typing.Any]]:
        together: dict[str, Mapping[str, typing.Any]] = {}
        for policy in self._inner:
            for name, options in policy.signal_options.items():
                if together.setdefault(name, options) != options:
                    raise ConfigError(
                        f'motivation.policy has policies that ask for {name!r} with {together[name]} and with {options}; it '
                        'is measured once for all: make them agree'
                    )
        return together

    def set_seed(self, seed: int) -> None:
        draws = random.Random(seed)
        for policy in self._inner:  # a seed for each, or two random gates with one rate would always agree
            policy.set_seed(draws.getrandbits(32))

    def state_dict(self) -> dict[str, typing.Any]:
        return {'policies': [policy.state_dict() for policy in self._inner]}

    def load_state_dict(self, state_dict: dict[str, typing.Any]) -> None:
        for policy, state in zip(self._inner, state_dict['policies'], strict=True):
            policy.load_state_dict(state)

    def _updates(self, loss: float, signals: dict[str, typing.Any]) -> list[bool]:
        """Update every inner policy with the loss and the signals that it asks for, and return their decisions."""
        return [
            policy.update(loss, **{name: signals[name] for name in asked})
            for policy, asked in zip(self._inner, self._asked, strict=True)
        ]


def _build_list(policies: typing.Any) -> list[SwitchPolicy]:
    if not isinstance(policies, (list, tuple)) or not policies:
        raise ArgumentError('policies', f'must be a list of policies, [dict(type=...), ...], got {policies!r}')
    built = [build_inner(policy, f'policies.{index}') for index, policy in enumerate(policies)]
    if len({id(policy) for policy in built}) < len(built):
        raise ArgumentError(
            'policies', 'has the same object twice, which would be updated twice a batch; build another'
        )
    return built


@POLICIES.register_module()
class All(CompositePolicy):
    """A policy that activates the motivated model while all of its inner policies agree to.

    Args:
        policies: Configs of the inner policies, at least one.

    Raises:
        ValueError: There is no policy, or an argument of one is invalid.

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
    """A policy that activates the motivated model while at least one of its inner policies would.

    Args:
        policies: Configs of the inner policies, at least one.

    Raises:
        ValueError: There is no policy, or an argument of one is invalid.

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
    """A policy that activates the motivated model while its inner policy would not.

    Args:
        policy: Config of the inner policy.

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
    """A policy that lets another decide during part of the run; the base model trains the rest.

    The inner policy is updated after every batch, also outside that part, so that its history is complete.

    Args:
        policy: Config of the inner policy.
        start: Start of the part, in ``unit``; 0 by default.
        end: End of the part (exclusive), in ``unit``; ``None`` (default) for the end of the run.
        unit: Unit of ``start`` and ``end``: ``'fraction'`` of the batches of the run, 0 to 1 (default), ``'epoch'``
            or ``'iter'`` (batches), both counted from 0.

    Raises:
        ValueError: A value is out of range, or ``end`` is not greater than ``start``.

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
    """A policy that limits the length of the motivated spells of another, and the distance between them.

    Args:
        policy: Config of the inner policy.
        min_spell: Minimum number of motivated batches in a spell, at least 1 (default).
        max_spell: Maximum number of motivated batches in a spell; ``None`` (default) for no limit.
        cooldown: Minimum number of base batches after a spell; 0 by default, but one follows anyway.

    Raises:
        ValueError: A value is out of range, or ``min_spell`` is greater than ``max_spell``.

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
