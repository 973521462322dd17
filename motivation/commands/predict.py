"""Classify images with a trained model, or with both of a run."""

import argparse
import os
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from motivation.errors import ConfigError

# Number of images from which further processes read them, unless --workers says how many; they take a second to start.
MANY = 1000

# Formats by the extension of --out that stands for them.
FORMATS = {'.csv': 'csv', '.jsonl': 'jsonl'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to a parser."""
    parser.add_argument(
        'model',
        help='a .pth of a run, its work_dir, its folder "exported", a folder in that, or a file of one (.pt2, .onnx, ...)',
    )
    parser.add_argument(
        'images', nargs='+', help="image files, folders, patterns such as 'photos/**/*.jpg', or - for a list on stdin"
    )
    parser.add_argument('--top-k', type=int, metavar='K', help='number of classes an image; 5 by default')
    parser.add_argument(
        '--threshold',
        type=float,
        metavar='P',
        help='of models for several labels an image: write every class of a probability above P; 0.5 by default',
    )
    parser.add_argument('--format', choices=('text', 'csv', 'jsonl'), help="by default that of --out's name, or text")
    parser.add_argument('--out', metavar='FILE', help='write to a new file instead of the terminal')
    parser.add_argument(
        '--models', nargs='+', action='extend', metavar='NAME', help='models of a run; base and motivated by default'
    )
    parser.add_argument(
        '--batch-size', type=int, default=64, metavar='N', help='images predicted at once; 64 by default'
    )
    parser.add_argument(
        '--workers', type=int, metavar='N', help=f'processes that read images; by default a few from {MANY:,} images on'
    )
    parser.add_argument('--device', help='device of models in .pth files; by default a GPU if there is one')


def check_args(args: argparse.Namespace) -> None:
    """Check the command-line values before anything is loaded."""
    for option, value, least in (
        ('--top-k', args.top_k, 1),
        ('--batch-size', args.batch_size, 1),
        ('--workers', args.workers, 0),
    ):
        if value is not None and value < least:
            raise ConfigError(f'{option} must be at least {least}, got {value}')
    if args.out is not None:
        check_out(Path(args.out), args.format)


def check_out(path: Path, kind: str | None) -> None:
    """Check that a file can be written, and that its name is not that of another format."""
    named = f'--out {str(path)!r}'
    if kind is not None and FORMATS.get(path.suffix, kind) != kind:
        raise ConfigError(f'{named} is named as {FORMATS[path.suffix]}, and --format is {kind!r}; leave one out')
    try:
        if path.exists():
            raise ConfigError(f'{named} exists already; remove it, or name another file')
        if not path.parent.is_dir():
            raise ConfigError(f'{named} is in a folder that does not exist; create it, or name another')
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ConfigError(f'{named} cannot be written ({error.strerror}); name another file') from error


class Watched:
    """Passes predictions on, shows their progress, and names and counts the images that cannot be used."""

    def __init__(self, predictions: Iterable[Any], total: int, shows_progress: bool) -> None:
        from rich.console import Console  # after check_stack()
        from rich.progress import Progress

        self.predictions = predictions
        self.total = total
        self.failed = 0
        console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        self.progress = Progress(console=console, transient=True, disable=not shows_progress)

    def __iter__(self) -> Iterator[Any]:
        with self.progress:
            task = self.progress.add_task('', total=self.total)
            for prediction in self.predictions:
                if prediction.problem or prediction.remark:
                    self.progress.console.print(f'{prediction.image!r} {prediction.problem or prediction.remark}')
                self.failed += bool(prediction.problem)
                if not prediction.problem:
                    yield prediction
                self.progress.advance(task)


def print_pieces(pieces: Iterable[str]) -> None:
    """Print to the standard output, which may be closed early: ``| head``."""
    try:
        for piece in pieces:
            sys.stdout.write(piece)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it exits


def run(args: argparse.Namespace) -> None:
    """Run the command with parsed arguments."""
    check_args(args)

    # Imported after check_stack(), which reports a broken installation in one sentence.
    from PIL.Image import DecompressionBombWarning

    from motivation.datasets.found_images import find_images
    from motivation.export.predicting import Predictor
    from motivation.export.prediction_formats import Choice, as_csv, as_json_lines, as_text
    from motivation.utils.files import write_whole

    warnings.simplefilter(
        'ignore', DecompressionBombWarning
    )  # a large image is read; a larger one is named as unreadable
    images = find_images(args.images, sys.stdin.buffer, partial(print, file=sys.stderr))
    predictor = Predictor.load(args.model, args.models, args.device)
    choice = Choice.of(predictor, args.top_k, args.threshold)
    workers = args.workers
    if workers is None:
        workers = min(4, os.cpu_count() or 1) if len(images) >= MANY else 0
    shows_progress = sys.stderr.isatty() and (args.out is not None or not sys.stdout.isatty())
    watched = Watched(predictor(images, args.batch_size, workers), len(images), shows_progress)
    kind = args.format or FORMATS.get(Path(args.out or '').suffix, 'text')
    writer = {'text': as_text(images, predictor.classes), 'csv': as_csv, 'jsonl': as_json_lines}[kind]
    pieces = writer(watched, choice)
    if args.out is None:
        print_pieces(pieces)
    else:
        write_whole(Path(args.out), lambda file: file.writelines(piece.encode() for piece in pieces))
    if watched.failed:
        verb = 'image' if watched.total == 1 else 'images'
        print(f'{watched.failed:,} of {watched.total:,} {verb} could not be classified', file=sys.stderr)
        sys.exit(1)
