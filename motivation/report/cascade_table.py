"""The cascade of two models as tables, in a terminal and as Markdown, and what they say in sentences."""

from collections.abc import Sequence
from typing import NamedTuple

from rich import box
from rich.table import Table

from motivation.evaluation.cascade_result import Cascaded, Latency, OperatingPoint
from motivation.evaluation.estimates import Estimate
from motivation.report.markdown import markdown_table
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
        table = Table(*self.header, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for column in table.columns[1:]:
            column.justify = 'right'
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """Return it as Markdown."""
        return markdown_table(self.header, self.rows)


def main_grid(result: Cascaded, latency: Latency) -> Grid:
    """Return each model alone beside the cascade at its two thresholds.

    Args:
        result: The cascade.
        latency: Times of both models and of the cascade at equal accuracy.
    """
    points = result.equal_accuracy, result.best_accuracy
    costs = [*(result.macs[name] for name in MODEL_NAMES), *(point.macs.value for point in points)]
    accuracies = [*(result.alone[name] for name in MODEL_NAMES), *(point.accuracy for point in points)]
    times = [f'{value:.2f}' for value in (latency.base, latency.motivated, latency.cascade)]
    alone = ['', '']
    return Grid(
        ['', *MODEL_NAMES, 'equal accuracy', 'best accuracy'],
        [
            ['threshold', *alone, *(_threshold(point) for point in points)],
            ['passed on', *alone, *(f'{point.passed_on.value:.1%}' for point in points)],
            ['accuracy (%)', *(f'{accuracy.value:.2f}' for accuracy in accuracies)],
            ['95 % interval', *(f'[{accuracy.low:.1f}, {accuracy.high:.1f}]' for accuracy in accuracies)],
            *_against('motivated', [point.over_motivated for point in points]),
            *_against('base', [point.over_base for point in points]),
            *_against('random', [point.over_random for point in points]),
            ['MMACs', *map(_mmacs, costs)],
            ['of motivated', *(f'{cost / result.macs["motivated"]:.0%}' for cost in costs)],
            ['ms', *times, ''],
        ],
    )


def _against(name: str, differences: Sequence[Estimate]) -> list[list[str]]:
    return [
        [f'over {name}', '', '', *(f'{difference.value:+.2f}' for difference in differences)],
        ['95 % interval', '', '', *(_interval(difference) for difference in differences)],
    ]


def curve_grid(result: Cascaded) -> Grid:
    """Return the cascade at the thresholds that pass on about 10, 20, ... % of the images."""
    points = [min(result.curve, key=lambda point: abs(100 * point.passed_on.value - share)) for share in SHARES]
    return Grid(
        ['threshold', 'passed on', 'accuracy (%)', 'over random', 'MMACs'],
        [
            [
                _threshold(point), f'{point.passed_on.value:.1%}', _with_interval(point.accuracy),
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
    said = [
        f'At the threshold that equalled the motivated model, the cascade passes on {equal.passed_on.value:.1%} of the '
        f'images and costs {_mmacs(equal.macs.value)} MMACs an image, {cost:.0%} of the motivated model alone. Its '
        f'accuracy differs from that of the motivated model by {_difference(equal.over_motivated)} points: '
        f'{_verdict(equal.over_motivated)}.',
        f'In time it takes {latency.cascade:.2f} ms an image, {latency.cascade / latency.motivated:.0%} of the '
        f'{latency.motivated:.2f} ms of the motivated model alone ({latency.passed_on:.1%} of the timed images passed on).',
    ]
    if equal.threshold == 0:
        said.append('The base model alone was right as often as the motivated model, so that nothing is passed on.')
    if cost >= NEARLY:
        said.append(
            'That is nearly the cost of the motivated model alone, or more: the cascade saves little or nothing.'
        )
    said += [
        f'Against a random choice of images at as many MACs it gains {_difference(equal.over_random)} points: '
        f'{_verdict(equal.over_random)}.',
        f'At the threshold of the best accuracy it gains {_difference(best.over_motivated)} points on the motivated model '
        f'({_verdict(best.over_motivated)}), at {best.macs.value / result.macs["motivated"]:.0%} of its MACs.',
        f'An oracle, which passes on the images that only the motivated model gets right, would have '
        f'{result.oracle_accuracy:.2f} % at {_mmacs(result.oracle_macs)} MMACs.',
    ]
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
        'The base model answers where its confidence reaches the threshold; the other images are passed on to the motivated model.',
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
        f'the other {result.images:,} (halves even in every class, seed {result.seed}). Intervals, 95 %, are over the '
        'latter: Wilson for an accuracy, Agresti and Min for a difference on the same images, in points. MACs an image: the base '
        'model on every image, the motivated model on those passed on. Random: one of the two models drawn for each '
        'image before either runs, as often as gives the same mean MACs. Time: mean milliseconds an image at batch 1 on one CPU thread.'
    )


def _threshold(point: OperatingPoint) -> str:
    return f'{point.threshold:.4f}' if point.threshold > 0 else 'none passed on'


def _verdict(difference: Estimate) -> str:
    if difference.low > 0:
        return 'better beyond chance'
    return 'worse beyond chance' if difference.high < 0 else 'not beyond chance'


def _mmacs(macs: float) -> str:
    return f'{macs / 1e6:,.2f}'


def _with_interval(estimate: Estimate) -> str:
    return f'{estimate.value:.2f} [{estimate.low:.1f}, {estimate.high:.1f}]'


def _difference(estimate: Estimate) -> str:
    return f'{estimate.value:+.2f} {_interval(estimate)}'


def _interval(estimate: Estimate) -> str:
    return f'[{estimate.low:.2f}, {estimate.high:.2f}]'
