"""The runs of a comparison on its page: a row each, with a strip of its motivated batches."""

import math
from pathlib import Path
from typing import Any

from motivation.comparison.output.page_tables import number, table, text
from motivation.policies.switch_trace import TRACE_NAME, SwitchTrace
from motivation.report.metric_units import form_of
from motivation.report.switch_plot import motivated_shares

# Levels of a share in a strip, one character each; 0 is "no batch", so that a single motivated batch remains visible.
_LEVELS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

# Bins of a strip, about one per pixel, and of all strips together, in bytes of the page.
_BINS, _ALL_BINS = 400, 400_000


def read_timelines(comparison: dict[str, Any]) -> list[dict[str, Any] | None]:
    """Read which batches of each finished run were motivated.

    Args:
        comparison: Data of the comparison.

    Returns:
        For each run, in the order of arms and runs: ``batches``, their number; ``spells``, the number of motivated
        spells; ``shares``, a character for each bin of at least one batch, its share of motivated batches in 64 levels,
        see :func:`decode_shares`. ``None`` for a run whose ``switches.npz`` is no longer there.

    Raises:
        ConfigError: A switch trace is damaged.
    """
    folders = [Path(run['folder']) for arm in comparison['arms'] for run in arm['runs']]
    bins = max(min(_BINS, _ALL_BINS // max(len(folders), 1)), 50)
    return [_timeline(SwitchTrace.load(at), bins) if (at / TRACE_NAME).is_file() else None for at in folders]


def _timeline(trace: SwitchTrace, bins: int) -> dict[str, Any]:
    shares = motivated_shares(trace, bins)[1].tolist() if len(trace) else []
    top = len(_LEVELS) - 1
    return {
        'batches': len(trace),
        'spells': len(trace.spells()),
        'shares': ''.join(_LEVELS[math.ceil(share * top)] for share in shares),
    }


def decode_shares(shares: str) -> list[float]:
    """Return the shares of motivated batches that a strip shows, each at most 1/63 too high.

    Args:
        shares: A character for each bin.
    """
    return [_LEVELS.index(level) / (len(_LEVELS) - 1) for level in shares]


def runs_table(comparison: dict[str, Any], timelines: list[dict[str, Any] | None]) -> str:
    """Return the finished runs as a table of HTML.

    Args:
        comparison: Data of the comparison.
        timelines: Those of :func:`read_timelines`.
    """
    form = form_of(comparison['metric'])
    longest = max((timeline['batches'] for timeline in timelines if timeline), default=0)
    runs = [(arm['arm'], run) for arm in comparison['arms'] for run in arm['runs']]
    rows = [
        [
            text(arm, label=True),
            number(run['seed'], 'd'),
            number(run['base'], form),
            number(run['motivated'], form),
            number(run['total_train_flops'], '.4g'),
            number(run['motivated_fraction'], '.1%'),
            number(timeline['spells'] if timeline else None, ',d'),
            f'<td>{_strip(place, timeline, longest)}</td>',
        ]
        for place, ((arm, run), timeline) in enumerate(zip(runs, timelines, strict=True))
    ]
    header = ['arm', 'seed', 'base', 'motivated', 'total FLOPs', 'motivated batches', 'spells']
    return table(header, rows, 'runs', unsorted=['motivated batches, from the first to the last'])


def _strip(place: int, timeline: dict[str, Any] | None, longest: int) -> str:
    if timeline is None:
        return f'no {TRACE_NAME}'
    batches, spells = timeline['batches'], timeline['spells']
    return (
        f'<canvas class="strip" data-run="{place}" role="img" style="width:{100 * batches / max(longest, 1):.2f}%" '
        f'aria-label="{batches:,} batches, {spells:,} motivated spells"></canvas>'
    )
