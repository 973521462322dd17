"""A comparison as Markdown, and the sentences that the terminal and the page share with it."""

from typing import Any

from motivation.comparison.statistics import FEWEST
from motivation.errors import counted
from motivation.report.markdown import markdown_table
from motivation.report.metric_units import form_of, named, unit_of
from motivation.report.table import DEFINITION
from motivation.structures import MODEL_NAMES

# Columns of the means of each arm.
RESULTS_HEADER = [
    'arm', 'seeds', 'base', 'motivated', 'base FLOPs', 'motivated FLOPs', 'total FLOPs',
    'saving against always', 'motivated batches', 'wall time (s)',
]  # fmt: skip

# Arms that a sentence names at most.
_NAMED = 5

# What stands where no arm can be compared at equal FLOPs.
NONE_VALIDATED = 'No arm was validated both before and after it had spent these FLOPs.'


def render_markdown(comparison: dict[str, Any]) -> str:
    """Return a comparison as Markdown."""
    sections = [
        f'# Comparison of {len(comparison["arms"])} arms\n\n{about(comparison)}',
        f'## Results\n\n{_results_table(comparison)}\n\n{" ".join(filter(None, (spread_note(comparison), front_note(comparison), RESULTS_NOTE, uncounted(comparison))))}',
        *([_unfinished(comparison)] if any(arm['unfinished'] for arm in comparison['arms']) else []),
        f'## Differences, paired by seed\n\n{_differences_table(comparison)}',
        f'## Claims\n\n{_claims_table(comparison)}\n\n{claims_note(comparison)}',
        f'## At equal FLOPs\n\n{_equal_flops_table(comparison)}\n\n{equal_flops_note(comparison)}\n\n![{comparison["metric"]} against training FLOPs](compare.png)',
    ]
    return '\n\n'.join(sections) + '\n'


def about(comparison: dict[str, Any]) -> str:
    """Return what was compared, and how compute is counted, as a paragraph of Markdown."""
    seeds = ', '.join(map(str, comparison['seeds']))
    noun = 'seed' if len(comparison['seeds']) == 1 else 'seeds'
    return (
        f'`{comparison["config"]}`, {counted(comparison["epochs"], "epoch")}, {noun} {seeds}; {named(comparison["metric"])}, '
        f'after the last epoch. {DEFINITION}'
    )


def spread(summary: dict[str, Any] | None, form: str = '.2f', scale: float = 1.0) -> str:
    """Return a mean with its standard deviation, where there is one; nothing for ``None``."""
    if summary is None:
        return ''
    mean = f'{summary["mean"] * scale:{form}}'
    return mean if summary['sd'] is None else f'{mean} ± {summary["sd"] * scale:{form}}'


def marked(arm: dict[str, Any], model: str, form: str, otherwise: str = '') -> str:
    """Return the metric of a model, with an asterisk if the arm is on its front, and else ``otherwise``."""
    text = spread(arm['summary'][model], form)
    mark = '*' if model in arm.get('pareto', ()) else otherwise
    return f'{text} {mark}' if text and mark else text


def front_note(comparison: dict[str, Any]) -> str:
    """Return what the asterisk means; nothing if no arm has one."""
    if not any(arm['pareto'] for arm in comparison['arms']):
        return ''
    return '*: on the Pareto front: no arm is better for no more training FLOPs, or as good for fewer.'


def mean_of(summary: dict[str, Any] | None, form: str, unit: str = '') -> str:
    """Return a mean; nothing for ``None``."""
    return '' if summary is None else f'{summary["mean"]:{form}}{unit}'


def arms_and_standalone(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the arms and, after them, both standalone trainings together where there are both."""
    standalone = comparison['standalone']
    return [*comparison['arms'], *([standalone] if standalone else [])]


def _results_table(comparison: dict[str, Any]) -> str:
    """Return the results as Markdown: a row for each arm, and one for both standalone trainings together."""
    rows, form = [], form_of(comparison['metric'])
    for arm in arms_and_standalone(comparison):
        own = arm['summary']
        rows.append(
            [
                f'`{arm["arm"]}`',
                str(len(arm['runs'])),
                *(marked(arm, name, form) for name in MODEL_NAMES),
                mean_of(own['base_train_flops'], '.3g'),
                mean_of(own['motivated_train_flops'], '.3g'),
                mean_of(own['total_train_flops'], '.4g'),
                mean_of(own['saving'], '.2f', ' x'),
                mean_of(own['motivated_fraction'], '.1%'),
                mean_of(own['wall_seconds'], ',.0f'),
            ]
        )
    return markdown_table(RESULTS_HEADER, rows)


RESULTS_NOTE = (
    'The cell of a model that an arm does not train is empty. `distillation` is '
    'the base model taught by the motivated model of its teacher arm, whose training is included in the FLOPs; its '
    'motivated model is that teacher. The saving is against the first `always` arm. Runs may have shared the machine, '
    'which affects wall times.'
)


def spread_note(comparison: dict[str, Any]) -> str:
    """Return what the numbers of the results are, as a sentence."""
    return 'Mean ± standard deviation over seeds.' if len(comparison['seeds']) > 1 else 'Results of one seed.'


def uncounted(comparison: dict[str, Any]) -> str:
    """Which arms have no FLOPs, in a sentence."""
    arms = [
        f'`{arm["arm"]}`' for arm in comparison['arms'] if any(run['total_train_flops'] is None for run in arm['runs'])
    ]
    if not arms:
        return ''
    more = f' and {counted(len(arms) - _NAMED, "other arm")}' if len(arms) > _NAMED else ''
    return (
        f'The FLOPs of {", ".join(arms[:_NAMED])}{more} were not counted in every run; what follows from those of the others leaves '
        'such runs out.'
    )


def _unfinished(comparison: dict[str, Any]) -> str:
    lines = [
        f'- `{arm["arm"]}`, seed {run["seed"]}: {": ".join(filter(None, (run["status"], run["reason"])))}'
        for arm in comparison['arms']
        for run in arm['unfinished']
    ]
    return '## Runs that have not finished\n\n' + '\n'.join(lines)


def _differences_table(comparison: dict[str, Any]) -> str:
    if not comparison['differences']:
        return 'None: no other arm has a seed in common with an arm `never` or `always`.'
    rows, form = [], form_of(comparison['metric'])
    for row in comparison['differences']:
        interval = '' if row['low'] is None else f'{row["low"]:+{form}} to {row["high"]:+{form}}'
        rows.append(
            [f'`{row["arm"]}`', f'`{row["against"]}`', row['model'], f'{row["mean"]:+{form}}', interval, str(row['n'])]
        )
    unit = unit_of(comparison['metric'])
    difference = f'difference ({unit})' if unit else 'difference'
    return markdown_table(['arm', 'against', 'model', difference, interval_name(comparison), 'seeds'], rows, left=3)


def interval_name(comparison: dict[str, Any]) -> str:
    """Return what the ends of a difference are called."""
    return '95 % confidence sequence' if comparison['test']['kind'] == 'sequential' else '95 % interval'


def _claims_table(comparison: dict[str, Any]) -> str:
    if not comparison['claims']:
        return 'None could be judged.'
    rows = [
        [claim['claim'], f'**{claim["verdict"]}**', claim['evidence'], _p(claim['p']), _p(claim['adjusted_p'])]
        for claim in comparison['claims']
    ]
    return markdown_table(['claim', 'verdict', 'evidence', 'p', 'adjusted p'], rows, left=3)


def _p(p: float | None) -> str:
    if p is None:
        return ''
    return '< 0.0001' if p < 0.0001 else f'{p:.4f}'


def describe_test(test: dict[str, Any]) -> str:
    """Return which test judged the claims, with its error rate and, if it decided when to stop, when and why."""
    rate = f'any claim is decided wrongly with a probability of at most {test["error_rate"]:.0%}'
    if test['kind'] == 'fixed':
        return f"Test: paired t-test of a fixed number of seeds, with Holm's correction: {rate}."
    return (
        f"Test: anytime-valid t-test after every seed, with Holm's correction: {rate}, however many seeds are run. "
        f'It stopped {test["stopped"]}.'
    )


def claims_note(comparison: dict[str, Any]) -> str:
    """Return how the claims were judged, as a paragraph."""
    test = comparison['test']
    p = 'smallest p-value after any seed so far' if test['kind'] == 'sequential' else 'p-value of that test'
    return (
        f'{describe_test(test)} p is the {p} for a difference of zero, or of the margin that the claim names; adjusted p '
        f'allows for all {counted(len(comparison["claims"]), "claim")} together. Where it is at most '
        f'{test["error_rate"]:g}, the claim is decided: supported if the difference is in its favour, contradicted if it '
        f'is not. With fewer than {FEWEST} seeds there is no verdict. The {interval_name(comparison)} is of one '
        'difference by itself, without correction.'
    )


def _equal_flops_table(comparison: dict[str, Any]) -> str:
    equal, form = comparison['equal_flops'], form_of(comparison['metric'])
    if not equal:
        return 'No run was validated whose FLOPs were counted.'
    labels = list(dict.fromkeys(label for one in equal.values() for label in one['arms']))
    if not labels:
        return NONE_VALIDATED
    header, rows = ['arm'], [[f'`{label}`'] for label in labels]
    for model, one in equal.items():
        against = next((row['against'] for row in one['differences']), None)
        header += [f'{model}, at {one["train_flops"]:.4g} FLOPs', f'against `{against}`' if against else '']
        gained = {row['arm']: row for row in one['differences']}
        for label, row in zip(labels, rows, strict=True):
            row += [spread(one['arms'].get(label), form), _interval(gained.get(label), form)]
    return markdown_table(header, rows)


def _interval(row: dict[str, Any] | None, form: str) -> str:
    if row is None:
        return ''
    return f'{row["mean"]:+{form}}' + (
        '' if row['low'] is None else f' ({row["low"]:+{form}} to {row["high"]:+{form}})'
    )


def equal_flops_note(comparison: dict[str, Any]) -> str:
    """Return how the metrics at equal FLOPs came about, as a paragraph."""
    return (
        'The metric of each arm at the point where it had spent the total FLOPs of the cheapest arm that trains the model, '
        'interpolated between two validations, and the difference from the arm that trains the model alone, with its '
        f'{interval_name(comparison)}. An arm is left out if one of its runs had not been validated by then. At that point the schedules of '
        'all but the cheapest arm are unfinished and their learning rates still high, which favours the cheapest arm. To '
        'compare finished trainings, give an arm another number of epochs (`never:max_epochs=...`).'
    )
