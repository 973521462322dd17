"""The runs of a comparison as rows of a table: ``compare.csv``."""

import csv
import io
from typing import Any

# A row is one of these of its arm, then of its run.
OF_ARM = ('arm', 'kind', 'made_from')
OF_RUN = (
    'seed', 'status', 'reason', 'folder', 'policy', 'epochs', 'base', 'motivated', 'base_train_flops',
    'motivated_train_flops', 'total_train_flops', 'motivated_alone_train_flops', 'motivated_fraction', 'wall_seconds',
)  # fmt: skip


def run_rows(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each run of a comparison, whatever its status, in the order of arms and seeds.

    Args:
        comparison: Data of the comparison.

    Returns:
        For each run, the items :data:`OF_ARM` of its arm, ``metric``, and the items :data:`OF_RUN` of the run; ``None``
        for what an unfinished run does not have. The ``status`` of a finished run is ``'finished'``.
    """
    rows = []
    for arm in comparison['arms']:
        shared = {name: arm[name] for name in OF_ARM} | {'metric': comparison['metric']}
        finished = [{'status': 'finished', 'reason': '', **run} for run in arm['runs']]
        for run in sorted([*finished, *arm['unfinished']], key=lambda run: run['seed']):
            rows.append(shared | {name: run.get(name) for name in OF_RUN})
    return rows


def render_csv(comparison: dict[str, Any]) -> str:
    """Return the runs of a comparison as comma-separated values (RFC 4180), a line each after the names of the columns.

    Numbers have all their digits, and the field of a number that a run lacks is empty.

    Args:
        comparison: Data of the comparison.
    """
    text = io.StringIO(newline='')
    writer = csv.DictWriter(text, [*OF_ARM, 'metric', *OF_RUN], lineterminator='\n')
    writer.writeheader()
    writer.writerows(run_rows(comparison))
    return text.getvalue()
