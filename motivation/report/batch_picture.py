"""The picture of a batch of training images, with their class names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Images of a picture at most, and in a row.
MOST_IMAGES, _IN_A_ROW = 32, 8

# Side of the largest image shown in pixels, of one that is enlarged at least, the space around it, and the lines below it.
_LARGEST, _SMALLEST, _GAP, _LINES = 224, 112, 12, 3

_TEXT, _TITLE, _LINE = 14, 18, 18  # sizes of letters, and the height of a line, in pixels

_FONT = Path(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf')

_INK, _FAINT, _PAPER = (20, 20, 20), (120, 120, 120), (255, 255, 255)


def draw_batch(groups: Mapping[str, np.ndarray], labels: Sequence[Sequence[str]], file: BinaryIO) -> None:
    """Draw images in rows with the names of their classes below, a group after the other.

    Small images are enlarged by a whole factor without interpolation, so that their pixels are seen.

    Args:
        groups: uint8 images (N, C, H, W), C 1 or 3, by the title of the group; those of one group have one size.
        labels: Names of the classes of each of the N images; none for an image without a label.
        file: The binary file to write a PNG image to.
    """
    text, title = (ImageFont.truetype(str(_FONT), size) for size in (_TEXT, _TITLE))
    rows = [_group(name, images, labels, text, title) for name, images in groups.items()]
    sheet = Image.new('RGB', (max(row.width for row in rows), sum(row.height for row in rows)), _PAPER)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    sheet.save(file, 'PNG')


def _group(
    name: str,
    images: np.ndarray,
    labels: Sequence[Sequence[str]],
    text: ImageFont.FreeTypeFont,
    title: ImageFont.FreeTypeFont,
) -> Image.Image:
    shown = [_scaled(image) for image in images]
    width, height = (max(size) for size in zip(*(image.size for image in shown), strict=True))
    width = max(width, _SMALLEST)
    captions = [_wrapped(', '.join(names), width, text) if names else [''] for names in labels]
    lines = max(map(len, captions))
    columns, cell = min(_IN_A_ROW, len(shown)), (width + _GAP, height + lines * _LINE + _GAP)
    top = _TITLE + 2 * _GAP
    sheet_width = max(columns * cell[0], int(title.getlength(name)) + _GAP) + _GAP
    sheet = Image.new('RGB', (sheet_width, top + -(-len(shown) // columns) * cell[1]), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, _GAP), name, _INK, title)
    for place, (image, caption, names) in enumerate(zip(shown, captions, labels, strict=True)):
        row, column = divmod(place, columns)
        left, upper = _GAP + column * cell[0], top + row * cell[1]
        sheet.paste(image, (left + (width - image.width) // 2, upper))
        for number, line in enumerate(caption if names else ['no label']):
            middle = left + (width - text.getlength(line)) / 2
            pen.text((middle, upper + height + 2 + number * _LINE), line, _INK if names else _FAINT, text)
    return sheet


def _scaled(image: np.ndarray) -> Image.Image:
    """Return an image (C, H, W) at the size at which it is shown."""
    pixels = np.moveaxis(image, 0, 2)
    shown = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    longest = max(shown.size)
    if longest > _LARGEST:
        shown.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
        return shown
    factor = max(1, -(-_SMALLEST // longest))
    return shown.resize((shown.width * factor, shown.height * factor), Image.Resampling.NEAREST)


def _wrapped(caption: str, width: int, font: ImageFont.FreeTypeFont) -> list[str]:
    """Return a text in lines of at most a width in pixels, the last cut with an ellipsis if there are too many."""
    lines = ['']
    for word in caption.split(' '):
        longer = f'{lines[-1]} {word}'.strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], ' '.join(lines[_LINES - 1 :])]
    return [_cut(line, width, font) for line in lines]


def _cut(line: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(f'{line}…') > width:
        line = line[:-1]
    return f'{line.rstrip(", ")}…'
