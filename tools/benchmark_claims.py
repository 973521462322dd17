"""Simulate comparisons: how often claims are decided wrongly, and how many seeds they need with --until decided."""

import argparse
import random
from bisect import bisect_left
from collections.abc import Sequence
from statistics import fmean, quantiles

from motivation.errors import check_stack, clear_errors
from motivation.utils.command_line import at_least

# Percentage points: the standard deviation of differences between two arms with one seed, and their means.
SPREAD, EFFECTS = 0.7, (0.35, 0.5, 0.7, 1.0, 1.5)
FIRST, LAST, CLAIMS = 3, 20, 3
LOOKS = range(FIRST, LAST + 1)

# Variances of the effect size that the test may expect; the second one is the default.
TAU2 = (0.5, 2.0, 8.0)

# Differences of each claim with each seed.
Gains = Sequence[Sequence[float]]


def main() -> None:
    check_stack()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--comparisons', type=at_least(20), default=2000, metavar='N', help='of each kind; 2,000 by default'
    )
    args = parser.parse_args()

    # Imported after check_stack(), which reports a broken installation in one sentence.
    from motivation.comparison.sequential import SequentialTest
    from motivation.comparison.statistics import FIXED, PairedTest
    from motivation.comparison.verdicts import Statement, judge

    def draw(effect: float, claims: int) -> list[list[list[float]]]:
        """Return the differences of each comparison, by claim and seed."""
        source = random.Random(claims)
        return [
            [[source.gauss(effect, SPREAD) for _ in range(LAST)] for _ in range(claims)]
            for _ in range(args.comparisons)
        ]

    def decided(gains: Gains, seeds: int, test: PairedTest) -> list[bool]:
        """Return whether each claim is decided after so many seeds."""
        claims = judge([Statement('', [one[:seeds]], '') for one in gains], test)
        return [claim['verdict'] != 'not decided' for claim in claims]

    def sequential(gains: Gains, tau2: float) -> int | None:
        """Return after how many seeds all claims are decided, ``None`` for never; what is decided remains so."""
        test = SequentialTest(tau2)
        place = bisect_left(LOOKS, True, key=lambda seeds: all(decided(gains, seeds, test)))
        return LOOKS[place] if place < len(LOOKS) else None

    def p_values(gains: Gains) -> list[float]:
        """Return the p-value of the t-test of the first claim at each look."""
        return [min(FIXED.p_values(gains[0][:seeds]) or [1.0]) for seeds in LOOKS]

    print(f'{args.comparisons:,} comparisons without any difference, a look after each of {FIRST} to {LAST} seeds:')
    print('claims  test        any decided wrongly')
    for claims in (1, CLAIMS):
        for name, test in (('sequential', SequentialTest()), ('fixed', FIXED)):
            wrong = [any(any(decided(gains, seeds, test)) for seeds in LOOKS) for gains in draw(0, claims)]
            print(f'{claims:6}  {name:10}  {fmean(wrong):.1%}', flush=True)

    # Pocock's group-sequential design: the same level at each look, found by simulation.
    level = quantiles((min(p_values(gains)) for gains in draw(0, 1)), n=20)[0]
    group = f'group, p <= {level:.4f}'

    print(f'\nSeeds until all claims are decided, of at most {LAST}; all are true.')
    print(f'Differences between two arms have a standard deviation of {SPREAD} points between seeds.')
    print('fixed: the number of seeds with which t-tests at 5 % over the number of claims have that power.')
    print('claims  test                points  decided   mean  quartiles     fixed 80 %  90 %')
    for claims, name, tau2 in [*((1, f'tau2 {tau2:g}', tau2) for tau2 in TAU2), (1, group, 0), (CLAIMS, 'tau2 2', 2)]:
        for effect in EFFECTS:
            runs = draw(effect, claims)
            if name == group:
                looks = [
                    next((n for n, p in zip(LOOKS, p_values(gains), strict=True) if p <= level), None) for gains in runs
                ]
            else:
                looks = [sequential(gains, tau2) for gains in runs]
            needed = [look or LAST for look in looks]
            quarters = ' / '.join(f'{quarter:.0f}' for quarter in quantiles(needed, n=4))
            fixed = [seeds_of_power(effect / SPREAD, power, claims) for power in (0.8, 0.9)]
            print(
                f'{claims:6}  {name:18}  {effect:6.2f}  {fmean(look is not None for look in looks):7.0%}  '
                f'{fmean(needed):5.1f}  {quarters:12}  {fixed[0]:10}  {fixed[1]:4}',
                flush=True,
            )


def seeds_of_power(size: float, power: float, claims: int) -> int:
    """Return the least number of seeds with which a t-test at 5 %, over the number of claims, has a power.

    Args:
        size: Mean over standard deviation of the differences.
        power: Probability that the difference is found.
        claims: Number of claims, each of which is tested at 5 % over it.
    """
    # scipy.stats is imported here because it takes most of a second.
    from scipy.stats import nct
    from scipy.stats import t as student_t

    seeds = FIRST
    while True:
        limit = student_t.isf(0.025 / claims, seeds - 1)
        if nct.sf(limit, seeds - 1, seeds**0.5 * size) + nct.cdf(-limit, seeds - 1, seeds**0.5 * size) >= power:
            return seeds
        seeds += 1


if __name__ == '__main__':
    with clear_errors():
        main()
