"""The verdict on each of several claims, corrected for their number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from motivation.comparison.statistics import ERROR_RATE, Interval, PairedTest, PValues, adjust
from motivation.errors import counted

Verdict = Literal['supported', 'contradicted', 'not decided']

# Digits after the point of a difference from a margin: what meets it exactly, but for rounding, is no difference.
_DIGITS = 9


@dataclass(frozen=True)
class Statement:
    """A claim with the values that judge it.

    Attributes:
        text: The claim, in words.
        gains: For each arm that it is against, by how much the claim was exceeded with each seed, in the order of the
            seeds: the claim holds if each mean is above zero.
        evidence: The differences, in words.
    """

    text: str
    gains: Sequence[Sequence[float]]
    evidence: str


def judge(statements: Sequence[Statement], test: PairedTest) -> list[dict[str, Any]]:
    """Judge claims together, with Holm's correction for their number.

    A claim that has too few seeds to be judged counts among them.

    Returns:
        ``'claim'``, ``'verdict'`` (``'supported'``, ``'contradicted'`` or ``'not decided'``), ``'p'``,
        ``'adjusted_p'`` (``None`` with fewer than three seeds) and ``'evidence'`` of each claim.
    """
    sides = [
        _combine([test.p_values([round(gain, _DIGITS) for gain in one]) for one in own.gains]) for own in statements
    ]
    adjusted = adjust([1.0 if own is None else min(own) for own in sides])
    return [
        {
            'claim': statement.text,
            'verdict': _verdict(own, p),
            'p': None if own is None else min(own),
            'adjusted_p': None if own is None else p,
            'evidence': statement.evidence,
        }
        for statement, own, p in zip(statements, sides, adjusted, strict=True)
    ]


def _combine(each: Sequence[PValues | None]) -> PValues | None:
    """Combine the p-values against several arms.

    A claim is supported if it is against each of them, so the largest p-value counts (Berger, Technometrics 24, 1982). It
    is contradicted if it is against any of them: the smallest counts, times their number.
    """
    known = [one for one in each if one is not None]
    if not known or len(known) < len(each):
        return None
    return PValues(max(one.above for one in known), min(len(known) * min(one.below for one in known), 1.0))


def _verdict(sides: PValues | None, adjusted: float) -> Verdict:
    if sides is None or adjusted > ERROR_RATE:
        return 'not decided'
    return 'supported' if sides.above < sides.below else 'contradicted'


def describe_interval(interval: Interval, unit: str, form: str = '.2f', name: str = '95 % interval') -> str:
    """Return an interval as text, such as ``'+1.20 points, 95 % interval +0.31 to +2.09 (3 seeds)'``."""
    seeds = counted(interval.n, 'seed')
    mean = f'{interval.mean:+{form}} {unit}'.rstrip()
    if interval.low is None or interval.high is None:
        return f'{mean} ({seeds}: no interval)'
    return f'{mean}, {name} {interval.low:+{form}} to {interval.high:+{form}} ({seeds})'
