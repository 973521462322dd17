"""Writing predictions as text, CSV or JSON lines."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len

from motivation.errors import ConfigError
from motivation.evaluation.predictions import THRESHOLD
from motivation.export.predicting import Guess, Prediction, Predictor

# Number of classes by default.
TOP_K = 5


@dataclass(frozen=True)
class Choice:
    """Which classes of an image are written.

    Attributes:
        top_k: The k most probable ones; ``None`` for those above the threshold.
        threshold: A probability, from 0 to 1.
    """

    top_k: int | None = TOP_K
    threshold: float = THRESHOLD

    @classmethod
    def of(cls, predictor: Predictor, top_k: int | None = None, threshold: float | None = None) -> 'Choice':
        """Return the choice for a predictor: the most probable classes, or with several labels all above a threshold.

        Args:
            predictor: The predictor.
            top_k: How many; ``None`` (default) for :data:`TOP_K`.
            threshold: With several labels, the threshold; ``None`` (default) for :data:`~motivation.evaluation.predictions.THRESHOLD`.

        Raises:
            ConfigError: The threshold is not from 0 to 1, or what is given is for other models.
        """
        if threshold is not None and not 0 <= threshold <= 1:
            raise ConfigError(f'--threshold must be from 0 to 1, got {threshold}')
        if predictor.outputs == 'sigmoid':
            if top_k is not None:
                raise ConfigError(
                    f"--top-k is {top_k}, and '{predictor.path}' gives several labels an image, of which all above "
                    '--threshold are written; leave it out'
                )
            return cls(None, THRESHOLD if threshold is None else threshold)
        if threshold is not None:
            raise ConfigError(
                f"--threshold is {threshold}, and '{predictor.path}' gives one label an image; leave it out, or give --top-k"
            )
        return cls(TOP_K if top_k is None else top_k)

    def __call__(self, prediction: Prediction, model: str) -> list[Guess]:
        """Return the chosen classes of a prediction by a model, the most probable first."""
        return prediction.above(self.threshold, model) if self.top_k is None else prediction.top(self.top_k, model)


# Writes the chosen classes of predictions, piece by piece.
Writer = Callable[[Iterable[Prediction], Choice], Iterator[str]]

# Widest column, in cells of a terminal; what is longer moves the rest of its line.
_WIDEST = 60


def as_text(images: Sequence[Any], classes: Sequence[str] | None) -> Writer:
    """Return a writer of aligned text: one line an image for one class each, else a block.

    Args:
        images: The images that will be predicted, whose names decide the width of the first column.
        classes: Class names, or ``None`` if they are not known.
    """
    width = _width(map(readable_path, images))
    named = _width(classes or ())

    def write(predictions: Iterable[Prediction], choice: Choice) -> Iterator[str]:
        for prediction in predictions:
            path = readable_path(prediction.image)
            several = len(prediction.probabilities) > 1
            rows = [(name, choice(prediction, name)) for name in prediction.probabilities]
            if choice.top_k == 1:
                answers = [
                    f'{name}  {_guess(top[0], named)}' if several else _guess(top[0], named) for name, top in rows
                ]
                yield f'{_padded(path, width)}  {"    ".join(answers)}\n'
                continue
            longest = _width(name for name, _ in rows)
            lines = [path]
            for name, top in rows:
                if not top:
                    head = f'{_padded(name, longest)}  ' if several else ''
                    lines.append(f'  {head}none above {choice.threshold:g}')
                for rank, guess in enumerate(top):
                    head = f'{_padded(name if rank == 0 else "", longest)}  ' if several else ''
                    lines.append(f'  {head}{_guess(guess, named)}')
            yield '\n'.join(lines) + '\n'

    return write


def as_csv(predictions: Iterable[Prediction], choice: Choice) -> Iterator[str]:
    """Yield CSV with the columns path, model, rank (from 1), class, index and probability: a row a class.

    An image without any has one row, in which the last four are empty.
    """
    yield _row('path', 'model', 'rank', 'class', 'index', 'probability')
    for prediction in predictions:
        path = readable_path(prediction.image, control=False)
        for model in prediction.probabilities:
            chosen = choice(prediction, model)
            for rank, guess in enumerate(chosen, 1):
                yield _row(path, model, rank, guess.name, guess.index, f'{guess.probability:.6g}')
            if not chosen:
                yield _row(path, model, '', '', '', '')


def as_json_lines(predictions: Iterable[Prediction], choice: Choice) -> Iterator[str]:
    r"""Yield a JSON object an image and model, with path, model and predictions, the most probable class first.

    A byte of a path that is not UTF-8 is a surrogate (``\udcff``), which Python's ``open`` takes.
    """
    for prediction in predictions:
        for model in prediction.probabilities:
            top = [
                {'class': guess.name, 'index': guess.index, 'probability': float(f'{guess.probability:.6g}')}
                for guess in choice(prediction, model)
            ]
            yield json.dumps({'path': str(prediction.image), 'model': model, 'predictions': top}) + '\n'


def readable_path(image: Any, control: bool = True) -> str:
    r"""Return a path as text that can be encoded, with bytes that are not UTF-8 as ``\xff``.

    Args:
        image: The path.
        control: Whether to escape control characters too, which would move the cursor of a terminal.
    """
    path = os.fsencode(str(image)).decode('utf-8', 'backslashreplace')
    return ''.join(map(_visible, path)) if control else path


def _visible(letter: str) -> str:
    is_control = ord(letter) < 32 or 127 <= ord(letter) < 160
    return ascii(letter)[1:-1] if is_control else letter


def _guess(guess: Guess, width: int) -> str:
    return f'{_padded(readable_path(guess.name), width)}  {100 * guess.probability:6.2f} %'


def _width(texts: Iterable[str]) -> int:
    return min(max(map(cell_len, texts), default=0), _WIDEST)


def _padded(text: str, width: int) -> str:
    return text + ' ' * (width - cell_len(text))


def _row(*values: Any) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator='\n').writerow(values)
    return line.getvalue()
