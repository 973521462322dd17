"""A claim of a study, stated before its runs in the field ``comparison.claims`` of a config."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Gt, MinLen

from motivation.errors import ArgumentError, near_matches, shortened
from motivation.structures import ModelName
from motivation.utils.arguments import arguments_of

_Labels = str | Annotated[Sequence[str], MinLen(1)]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """State what a comparison shall decide about an arm: that a model is better, or that its training is cheaper.

    Arms are named by their labels, as the comparison names them.

    Args:
        arm: The arm that the claim is about.
        model: Its model that is better than that of another arm; only and always with ``better_than``.
        better_than: The other arm, or several, each of which it is better than, by the metric of the comparison.
        by: How much better, in the unit of the metric; below 0 for a claim that it is not worse by more than that, as
            -0.5 for half a point. Default: 0.
        cheaper_than: An arm that costs more training FLOPs in total, or several whose FLOPs are added.
        factor: How many times more, above 0. Default: 1.

    Raises:
        ArgumentError: Not one of ``better_than`` and ``cheaper_than`` is given, or an argument that belongs to the other.

    Example:
        >>> comparison = dict(claims=[
        ...     dict(arm='config', model='base', better_than='never', by=-0.5),
        ...     dict(arm='config', cheaper_than=['never', 'always'], factor=2),
        ... ])
    """

    arm: str
    model: ModelName | None = None
    better_than: _Labels | None = None
    by: float = 0.0
    cheaper_than: _Labels | None = None
    factor: Annotated[float, Gt(0)] = 1.0

    def __post_init__(self) -> None:
        if (self.better_than is None) == (self.cheaper_than is None):
            given = 'neither' if self.better_than is None else 'both'
            raise ArgumentError('better_than', f'and cheaper_than are {given} given; give one of them')
        if self.better_than is not None and self.model is None:
            raise ArgumentError('model', "is missing; say whether the 'base' or the 'motivated' model is better")
        for argument, default, other in (
            ('factor', 1, 'better_than'),
            ('model', None, 'cheaper_than'),
            ('by', 0, 'cheaper_than'),
        ):
            value = getattr(self, argument)
            if value != default and getattr(self, other) is not None:
                raise ArgumentError(argument, f'is {shortened(value)}, which does not apply to {other}; leave it out')

    @property
    def against(self) -> tuple[str, ...]:
        """Labels of the other arms."""
        other = self.cheaper_than if self.better_than is None else self.better_than
        assert other is not None
        return (other,) if isinstance(other, str) else tuple(other)


def read_claims(nodes: Sequence[Mapping[str, Any]]) -> list[Claim]:
    """Build the claims of a config, whose names and types have been checked.

    Raises:
        ArgumentError: A claim is incomplete, contradicts itself, or is given twice; names it as ``claims.0.model``.
    """
    claims: list[Claim] = []
    for place, node in enumerate(nodes):
        if 'arm' not in node:
            known = arguments_of(Claim)[0]
            raise ArgumentError(f'claims.{place}.arm', f'is missing; {near_matches("", known)}')
        try:
            claim = Claim(**node)
        except ArgumentError as error:
            raise ArgumentError(f'claims.{place}.{error.argument}', error.problem) from error
        if claim in claims:
            raise ArgumentError(f'claims.{place}', f'is claims.{claims.index(claim)} again; state each claim once')
        claims.append(claim)
    return claims
