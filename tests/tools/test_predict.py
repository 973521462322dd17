import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from motivation.commands.predict import print_pieces
from motivation.export.predicting import Predictor
from tests.export.models import images_of, saved_model
from tests.tools.call import call_here


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A work_dir with both models, of three classes."""
    folder = tmp_path_factory.mktemp('run')
    for name, model in (('base', 'cifar_resnet8'), ('motivated', 'cifar_resnet20')):
        saved_model(folder / f'{name}.pth', model, size=12)
    return folder


@pytest.fixture
def photos():
    Path('photos').mkdir()
    for index, image in enumerate(images_of(3, size=20)):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(f'photos/{index + 9}.png')
    return ['photos/9.png', 'photos/10.png', 'photos/11.png']


def call(*arguments):
    return call_here('predict.py', *arguments)


def test_one_class_is_one_aligned_line_an_image(run, photos):
    done = call(run / 'base.pth', 'photos', '--top-k', 1)
    assert (done.returncode, done.stderr) == (0, '')
    expected = ''
    for path, prediction in zip(photos, Predictor.load(run / 'base.pth')(photos), strict=True):
        (guess,) = prediction.top()
        expected += f'{path:<13}  {guess.name}  {100 * guess.probability:6.2f} %\n'
    assert done.stdout == expected


def test_both_models_of_a_run_answer_in_blocks(run, photos):
    done = call(run, photos[0], '--top-k', 2)
    (prediction,) = Predictor.load(run)(photos[:1])
    base, other = (prediction.top(2, name) for name in ('base', 'motivated'))
    lines = [
        f'{head:<11}  {guess.name}  {100 * guess.probability:6.2f} %'
        for head, guess in zip(('  base', '', '  motivated', ''), [*base, *other], strict=True)
    ]
    assert (done.returncode, done.stdout) == (0, '\n'.join([photos[0], *lines]) + '\n')


def test_csv_has_a_row_a_class_and_json_an_object_a_model(run, photos):
    assert call(run, *photos, '--out', 'a.csv', '--models', 'base').returncode == 0
    assert call(run, *photos, '--out', 'a.jsonl').stdout == ''
    rows = list(csv.DictReader(Path('a.csv').read_text().splitlines()))
    objects = [json.loads(line) for line in Path('a.jsonl').read_text().splitlines()]
    assert [(row['path'], row['rank']) for row in rows] == [(path, str(rank)) for path in photos for rank in (1, 2, 3)]
    assert [(one['path'], one['model']) for one in objects] == [
        (path, name) for path in photos for name in ('base', 'motivated')
    ]
    for place, prediction in enumerate(Predictor.load(run)(photos)):
        for row, guess in zip(rows[3 * place : 3 * place + 3], prediction.top(3), strict=True):
            assert (row['model'], row['class'], int(row['index'])) == ('base', guess.name, guess.index)
            assert float(row['probability']) == pytest.approx(guess.probability, rel=1e-5)
        assert [guess['class'] for guess in objects[2 * place + 1]['predictions']] == [
            guess.name for guess in prediction.top(3, 'motivated')
        ]
    done = call(run, *photos, '--out', 'a.csv')
    assert (done.returncode, done.stderr) == (
        2,
        "error: --out 'a.csv' exists already; remove it, or name another file\n",
    )


def test_damaged_images_are_named_skipped_and_counted(run, photos):
    Path(photos[1]).write_bytes(b'')
    done = call(run / 'base.pth', 'photos', '--format', 'csv', '--top-k', 1, '--out', 'some.csv')
    assert done.returncode == 1 and done.stdout == ''
    assert done.stderr == (
        "'photos/10.png' is unreadable: it is empty or not an image\n1 of 3 images could not be classified\n"
    )
    assert [row['path'] for row in csv.DictReader(Path('some.csv').read_text().splitlines())] == [photos[0], photos[2]]


def test_pipe_among_the_images_is_named_and_not_waited_for(run, photos, monkeypatch):
    os.mkfifo('photos/pipe.png')
    Path('photos/12.png').symlink_to('pipe.png')
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(b'photos/pipe.png\n')))
    Path('photos/notes.txt').touch()
    done = call(run / 'base.pth', 'photos', 'photos/pipe.png', '/dev/zero', '-', '--top-k', 1)
    names = ['photos/12.png', 'photos/pipe.png', '/dev/zero', 'photos/pipe.png']
    assert (done.returncode, done.stdout.count('\n')) == (1, 3)
    assert done.stderr.splitlines() == [
        'files skipped, not images: 1 (.txt 1)',
        *(f'{name!r} is unreadable: it is not a regular file' for name in names),
        '4 of 7 images could not be classified',
    ]


def test_names_of_any_bytes_come_out_readable_in_every_format(run, photos, monkeypatch):
    odd = os.fsdecode(b'photos/na\xefve\n\x1b[2J.png')
    os.rename(photos[0], odd)  # noqa: PTH104
    for kind in ('text', 'csv', 'jsonl'):
        monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(os.fsencode(odd) + b'\0')))
        done = call(run / 'base.pth', '-', '--format', kind, '--top-k', 1)
        assert done.returncode == 0 and done.stdout.encode()
        if kind == 'text':
            assert done.stdout.startswith('photos/na\\xefve\\n\\x1b[2J.png  ') and done.stdout.count('\n') == 1
        elif kind == 'csv':
            ((path, *_),) = list(csv.reader(io.StringIO(done.stdout)))[1:]
            assert path == 'photos/na\\xefve\n\x1b[2J.png'
        else:
            assert Path(json.loads(done.stdout)['path']).exists()


def test_nothing_is_written_when_a_run_of_predictions_stops(run, photos, tmp_path):
    saved_model(tmp_path / 'base.pth', 'cifar_resnet8', size=12, metainfo={'transforms': []})
    done = call(tmp_path / 'base.pth', 'photos', '--out', 'a.csv')
    assert done.returncode == 2 and done.stderr.startswith(
        "error: 'photos/9.png' is 3 x 20 x 20 (channels, height, width)"
    )
    assert not [path for path in Path().iterdir() if 'a.csv' in path.name]


def test_mistakes_are_one_sentence_with_status_2(run, photos):
    os.mkfifo('pipe')
    for arguments, match in (
        ([run, 'nowhere.jpg'], "'nowhere.jpg' does not exist; give image files, folders or patterns"),
        (['nowhere.pth', 'photos'], "model 'nowhere.pth' does not exist; give a .pth of a run"),
        (['pipe', 'photos'], "model 'pipe' is not a regular file; give a .pth of a run"),
        ([run, 'photos', '--top-k', 0], '--top-k must be at least 1, got 0'),
        ([run, 'photos', '--workers', -1], '--workers must be at least 0, got -1'),
        (
            [run, 'photos', '--out', '/proc/a.csv'],
            "--out '/proc/a.csv' cannot be written (",
        ),
        (
            [run, 'photos', '--out', 'a.jsonl', '--format', 'csv'],
            "--out 'a.jsonl' is named as jsonl, and --format is 'csv'; leave one out",
        ),
        ([run, 'photos', '--out', 'no/a.csv'], "--out 'no/a.csv' is in a folder that does not exist; create it"),
    ):
        done = call(*arguments)
        assert done.returncode == 2 and done.stdout == '', arguments
        assert done.stderr.startswith(f'error: {match}') and done.stderr.count('\n') == 1


def test_reader_that_closes_the_pipe_ends_it_quietly(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, 'stdout', os.fdopen(writer, 'w'))
    print_pieces(['line\n'] * 100_000)
    sys.stdout.flush()
    sys.stdout.close()
