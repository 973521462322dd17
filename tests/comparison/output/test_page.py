"""The HTML page of a comparison: what it contains, and that no text of a user becomes HTML."""

import json
import shutil
import subprocess
from html.parser import HTMLParser
from importlib import metadata
from pathlib import Path

import pytest

from motivation.comparison.claims import find_differences, judge_claims
from motivation.comparison.compare import Comparison
from motivation.comparison.output.output_files import dump
from motivation.comparison.output.page import render_page, write_page
from motivation.comparison.output.page_runs import decode_shares, read_timelines
from motivation.comparison.results import equal_flops
from motivation.errors import ConfigError
from motivation.policies.switch_trace import SwitchTrace
from tests.comparison.test_results import compare
from tests.conftest import DIGITS

pytest.importorskip('plotly')

HOSTILE = """<img src="http://x/y" onerror='alert(1)'>&amp;</script><!-- $about"""


class Page(HTMLParser):
    """What a page has: its elements, the cells of each table by its id, and the contents of scripts by their id."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.tables, self.scripts, self.text = [], {}, {}, ''
        self._inside = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.elements.append((tag, given))
        if tag == 'table':
            self._rows = self.tables[given['id']] = []
        elif tag == 'tr':
            self._rows.append([])
        elif tag in ('td', 'th'):
            self._rows[-1].append('')
        self._inside = (
            ('script', given.get('id')) if tag == 'script' else ('cell', None) if self._in_cell(tag) else None
        )

    def _in_cell(self, tag):
        return tag in ('td', 'th') or (tag in ('code', 'button', 'span') and self._inside == ('cell', None))

    def handle_endtag(self, tag):
        if tag in ('td', 'th', 'script', 'style'):
            self._inside = None

    def handle_data(self, data):
        if self._inside == ('cell', None):
            self._rows[-1][-1] += data
        elif self._inside is not None:
            self.scripts[self._inside[1]] = self.scripts.get(self._inside[1], '') + data
        else:
            self.text += data


@pytest.fixture
def comparison():
    """A comparison whose condition has a hostile name and one failed run; two of its runs have a switch trace."""
    made = compare(failed={('consecutive', 2)})
    for arm in made['arms']:
        if arm['arm'] == 'consecutive':
            arm.update(arm=HOSTILE, pareto=['base'])
            arm['unfinished'][0]['reason'] = HOSTILE
            for run, batches in zip(arm['runs'], (8, 1000), strict=True):
                trace = SwitchTrace()
                for batch in range(batches):
                    trace.append(0, 1.0, batch % 4 == 3, False)
                trace.save(Path(run['folder']))
    for arm in made['arms']:
        arm['made_from'] = HOSTILE if arm['made_from'] == 'consecutive' else arm['made_from']
    made['equal_flops'] = equal_flops(made['arms'])
    made['differences'] = find_differences(made['arms'])
    made['claims'] = judge_claims(made)
    return made


def test_text_of_a_user_is_text_and_nothing_comes_from_elsewhere(comparison):
    page = Page(render_page(comparison))
    names = {name for name, _ in page.elements}
    assert not names & {'img', 'link', 'iframe', 'object', 'base', 'form'}
    for _, attributes in page.elements:
        assert not {name for name in attributes if name.startswith('on') or name in ('src', 'srcset')}
        assert attributes.get('href', '#').startswith('#')
    assert [given['content'].split(';')[0] for _, given in page.elements if 'http-equiv' in given] == [
        "default-src 'none'"
    ]
    assert HOSTILE in [row[0] for row in page.tables['results']]


def test_embedded_data_is_the_comparison(comparison):
    page = Page(render_page(comparison))
    assert json.loads(page.scripts['comparison']) == json.loads(dump(comparison))


def test_tables_have_a_row_for_each_arm_difference_claim_and_run(comparison):
    page = Page(render_page(comparison))
    labels = [arm['arm'] for arm in comparison['arms']]
    results = page.tables['results'][1:]
    assert [row[0] for row in results] == [*labels, 'never + always']
    assert results[2][1:6] == ['2', '53.00 ± 0.00 ◆', '58.50 ± 0.71', '90', '70']
    rows = page.tables['differences'][1:]
    assert len(rows) == len(comparison['differences'])
    (shown,) = (row[3] for row in rows if row[:3] == ['matched', 'never', 'base'])
    assert shown == '+0.67'  # 0, 3, -1
    claims = [(row[0], row[1], row[-1]) for row in page.tables['claims'][1:]]
    assert claims == [(one['claim'], one['verdict'], one['evidence']) for one in comparison['claims']]
    runs = [(row[0], int(row[1])) for row in page.tables['runs'][1:]]
    assert runs == [(arm['arm'], run['seed']) for arm in comparison['arms'] for run in arm['runs']]
    assert '1 run has not finished' in page.text and page.text.count(HOSTILE) >= 2


def test_model_that_no_arm_has_at_equal_flops_is_a_sentence_and_no_table(comparison):
    comparison['equal_flops']['motivated'].update(arms={}, differences=[])
    page = Page(render_page(comparison))
    assert 'motivated-at-equal-flops' not in page.tables and 'No arm was validated both before and after' in page.text


def test_p_values_are_columns(comparison):
    for claim in comparison['claims']:
        claim.update(p=0.0123456, adjusted_p=None)
    comparison['claims'][0]['adjusted_p'] = 0.5
    page = Page(render_page(comparison))
    assert page.tables['claims'][0] == ['claim', 'verdict', 'p', 'adjusted p', 'evidence']
    assert page.tables['claims'][1][2:4] == ['0.0123', '0.5'] and page.tables['claims'][2][3] == ''


def test_timelines_have_every_batch_of_a_short_run_and_the_shares_of_a_long_one(comparison):
    timelines = json.loads(Page(render_page(comparison)).scripts['timelines'])
    assert timelines == read_timelines(comparison)
    short, long = (timeline for timeline in timelines if timeline is not None)
    assert (short['batches'], short['spells'], decode_shares(short['shares'])) == (8, 2, [0, 0, 0, 1] * 2)
    assert (long['batches'], long['spells'], len(long['shares'])) == (1000, 250, 400)
    shares = decode_shares(long['shares'])  # bins of 2 or 3 batches with at most one motivated
    assert {round(share, 2) for share in shares} <= {0, 0.33, 0.34, 0.51, 0.5} and shares.count(0) == 150


def test_missing_plotly_is_said_before_the_first_run(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr('motivation.comparison.output.page.metadata.version', missing)
    with pytest.raises(ConfigError, match=r"^--html draws .* plotly, which is not installed: run 'pip install plotly'"):
        Comparison(DIGITS, Path('work'), html=True, arms=['never'], seeds=[0])
    assert not Path('work').exists()


@pytest.mark.skipif(shutil.which('chromium') is None, reason='needs chromium')
def test_browser_draws_curves_and_strips_and_sorts(comparison):
    path = write_page(comparison, Path())
    clicks = 'for (let n = 0; n < 2; n++) document.querySelectorAll("#results thead button")[6].click();'
    path.write_text(path.read_text().replace('</body>', f'<script>{clicks}</script></body>'))
    options = '--headless --no-sandbox --disable-gpu --enable-logging=stderr --virtual-time-budget=5000 --dump-dom'
    done = subprocess.run(
        ['chromium', *options.split(), f'--user-data-dir={Path("profile").resolve()}', path.resolve().as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert 'CONSOLE' not in done.stderr  # where errors and refused requests would be
    page = Page(done.stdout)
    assert sum(given.get('class') == 'main-svg' for _, given in page.elements) >= 4
    assert sum('aria-pressed' in given for _, given in page.elements) == len(comparison['arms'])
    widths = [given['width'] for name, given in page.elements if name == 'canvas' and 'width' in given]
    assert widths == ['8', '400']
    flops = [float(row[6]) for row in page.tables['results'][1:]]
    assert flops == sorted(flops, reverse=True) and len(set(flops)) > 3
