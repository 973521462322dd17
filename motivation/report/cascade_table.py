"""The cascade of two models as tables, in a terminal and as Markdown, and what they say in sentences."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table

from motivation.evaluation.cascade_result import Cascaded, Latency, OperatingPoint
from motivation.evaluation.estimates import Estimate
from motivation.structures import MODEL_NAMES

# From this share of the motivated model's MACs on, nothing worth having is saved.
NEARLY = 0.9

# Shares passed on, in percent, of the rows over thresholds.
SHARES = (10, 20, 30, 40, 50, 60, 70, 80)


class Grid(NamedTuple):
    """A table as text.

    Attributes:
        header: Names of the columns.
        rows: The cells of each row.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def rich(self) -> Table:
        """Return it for a terminal."""
        table = Table(*self.header)
        for column in table.columns[1:]:
            column.justify = 'right'
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """Return it as Markdown."""
        lines = [self.header, [':--'] + ['--:'] * (len(self.header) - 1), *self.rows]
        return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def main_grid(result: Cascaded, latency: Latency) -> Grid:
    """Return both models alone, the cascade at its two thresholds, and what to compare it with.

    Args:
        result: The cascade.
        latency: Times of both models and of the cascade at equal accuracy.
    """
    macs = result.macs

    def row(
        label: str, cost: float, accuracy: str, threshold: str = '', passed: str = '', against: str = '', ms: str = ''
    ) -> list[str]:
        return [label, threshold, passed, accuracy, against, _mmacs(cost), f'{cost / macs["motivated"]:.0%}', ms]

    rows = [
        row(f'{name} alone', macs[name], _with_interval(result.alone[name]), ms=f'{getattr(latency, name):.2f}')
        for name in MODEL_NAMES
    ]
    for label, point, ms in (
        ('cascade, equal accuracy', result.equal_accuracy, f'{latency.cascade:.2f}'),
        ('cascade, best accuracy', result.best_accuracy, ''),
    ):
        rows.append(
            row(
                label, point.macs.value, _with_interval(point.accuracy), f'{point.threshold:.4f}',
                f'{point.passed_on.value:.1%}', _difference(point.over_motivated), ms,
            )
        )  # fmt: skip
    equal = result.equal_accuracy
    random = min(equal.macs.value, macs['motivated'])
    rows.append(row('random choice, as many MACs', random, f'{equal.accuracy.value - equal.over_random.value:.2f}'))
    rows.append(row('oracle', result.oracle_macs, f'{result.oracle_accuracy:.2f}'))
    return Grid(
        ['', 'threshold', 'passed on', 'accuracy (%)', 'against motivated (points)', 'MMACs', 'of motivated', 'ms'], rows
    )


def curve_grid(result: Cascaded) -> Grid:
    """Return the cascade at the thresholds that pass on about 10, 20, ... % of the images."""
    points = [min(result.curve, key=lambda point: abs(100 * point.passed_on.value - share)) for share in SHARES]
    return Grid(
        ['threshold', 'passed on', 'accuracy (%)', 'against a random choice (points)', 'MMACs'],
        [
            [
                f'{point.threshold:.4f}', f'{point.passed_on.value:.1%}', _with_interval(point.accuracy),
                _difference(point.over_random), _mmacs(point.macs.value),
            ]
            for point in dict.fromkeys(points)
        ],
    )  # fmt: skip


def sentences(result: Cascaded, latency: Latency) -> list[str]:
    """Return what the result says, and what it does not.

    Args:
        result: The cascade.
        latency: Times of both models and of the cascade at equal accuracy.
    """
    equal, best, cost = result.equal_accuracy, result.best_accuracy, result.relative_cost
    time = latency.cascade / latency.motivated
    said = [
        f'At equal accuracy the cascade passes on {equal.passed_on.value:.1%} of the images and costs '
        f'{_mmacs(equal.macs.value)} MMACs an image, {cost:.0%} of the motivated model alone; in time, '
        f'{latency.cascade:.2f} ms against {latency.motivated:.2f} ({time:.0%}; {latency.passed_on:.1%} of the '
        f'timed images passed on).',
        f'Its accuracy on images on which the threshold was not chosen is {_difference(equal.over_motivated)} points '
        f'against the motivated model{_decided(equal, "equal", "worse", "better")}.',
    ]
    if cost >= NEARLY:
        said.append('That is nearly as much as the motivated model alone, or more: the cascade saves nothing worth having.')
    if equal.over_random.low <= 0:
        said.append(
            'It is not shown to be better than a random choice of images at as many MACs '
            f'({_difference(equal.over_random)} points).'
        )
    said.append(
        f'The threshold of the best accuracy gives {_difference(best.over_motivated)} points against the motivated model'
        f'{_decided(best, "a gain that may be chance", "a loss", "a gain beyond chance")}, at '
        f'{best.macs.value / result.macs["motivated"]:.0%} of its MACs.'
    )
    return said


def write_markdown(result: Cascaded, latency: Latency, about: str) -> str:
    """Return the content of ``cascade.md``.

    Args:
        result: The cascade.
        latency: Times of both models and of the cascade at equal accuracy.
        about: The run and how the time was measured, as a sentence.
    """
    parts = [
        '# The two together',
        'The base model answers where its confidence reaches the threshold, the motivated model otherwise.',
        *sentences(result, latency),
        main_grid(result, latency).markdown(),
        curve_grid(result).markdown(),
        explanation(result),
        about,
        '![Accuracy against mean MACs an image; accuracy of both models by confidence of the base model](cascade.png)',
    ]
    return '\n\n'.join(parts) + '\n'


def explanation(result: Cascaded) -> str:
    """Return how the numbers came about."""
    return (
        f'Confidence: {result.measure}. Thresholds were chosen on {result.chosen_on:,} validation images and judged on '
        f'the other {result.images:,} (halves even in every class, seed {result.seed}); the intervals, 95 %, are over '
        'the latter: Wilson of an accuracy, paired bootstrap of a difference. MACs: the base model on every image, the '
        'motivated model on those passed on. A random choice runs one of the two on each image, never both. The oracle '
        'passes on the images that only the motivated model gets right.'
    )


def _decided(point: OperatingPoint, open_: str, below: str, above: str) -> str:
    interval = point.over_motivated
    if interval.value == interval.low == interval.high == 0:
        return ', the same answers'
    verdict = below if interval.high < 0 else above if interval.low > 0 else open_
    return f', {verdict}' if verdict != 'equal' else ', no difference beyond chance'


def _mmacs(macs: float) -> str:
    return f'{macs / 1e6:,.2f}'


def _with_interval(estimate: Estimate) -> str:
    return f'{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]'


def _difference(estimate: Estimate) -> str:
    return f'{estimate.value:+.2f} [{estimate.low:+.2f}, {estimate.high:+.2f}]'
