"""The runs of a comparison as a table."""

import csv
import io

from motivation.comparison.output.tables import OF_ARM, OF_RUN, render_csv
from tests.comparison.test_results import compare


def read(text):
    """Return the rows, with numbers of JSON where a column has them."""
    texts = ('arm', 'kind', 'made_from', 'metric', 'status', 'reason', 'folder', 'policy')
    for row in csv.DictReader(io.StringIO(text, newline='')):
        yield {name: (value or None) if name in texts else _number(value) for name, value in row.items()}


def _number(text):
    return None if text == '' else float(text) if '.' in text else int(text)


def test_rows_read_back_as_the_runs_of_the_comparison():
    comparison = compare(failed={('consecutive', 1)})
    comparison['arms'][0]['arm'] = 'never:"a", <b>\n& c'
    comparison['arms'][0]['runs'][0]['base'] = 100 / 3
    rows = {(row['arm'], row['seed']): row for row in read(render_csv(comparison))}
    assert len(rows) == sum(len(arm['runs']) + len(arm['unfinished']) for arm in comparison['arms']) == 15
    for arm in comparison['arms']:
        for run in arm['runs']:
            row = rows[arm['arm'], run['seed']]
            assert {name: row[name] for name in OF_ARM} == {name: arm[name] for name in OF_ARM}
            assert {name: row[name] for name in run if name != 'history'} == {
                name: value for name, value in run.items() if name != 'history'
            }
            assert (row['status'], row['metric']) == ('finished', 'accuracy/top1')


def test_unfinished_run_is_a_row_with_its_reason_between_the_finished_ones():
    rows = [row for row in read(render_csv(compare(failed={('consecutive', 1)}))) if row['arm'] == 'consecutive']
    assert [(row['seed'], row['status']) for row in rows] == [(0, 'finished'), (1, 'failed'), (2, 'finished')]
    assert rows[1]['reason'] == 'out of memory' and rows[1]['folder'] == 'runs/consecutive/seed1'
    assert all(rows[1][name] is None for name in OF_RUN[4:])
