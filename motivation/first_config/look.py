"""Looking at images: their sizes, modes and colours."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from PIL import Image

from motivation.datasets.decoding import upright
from motivation.first_config.data import Part

# Number of images that are decoded, spread evenly over the training images.
_MOST = 200

# Side in pixels to which they are shrunk, to compare their channels.
_SIDE = 64


@dataclass
class Look:
    """What images look like.

    Attributes:
        count: Number of images that were decoded.
        sizes: Their (width, height) in pixels.
        modes: Number of images of each PIL mode.
        is_grey: Whether none has colours.
        mean: Mean of each channel on the scale 0 to 1, of one channel for grey images.
        std: Standard deviation of each channel.
        unreadable: Names of those that cannot be decoded.
    """

    count: int
    sizes: np.ndarray
    modes: Counter[str]
    is_grey: bool
    mean: list[float]
    std: list[float]
    unreadable: list[str]

    @property
    def short_side(self) -> int:
        """The median of the shorter sides, in pixels."""
        return int(np.median(self.sizes.min(1)))

    def size_text(self) -> str:
        """Return the sizes in words: ``'30 x 40 to 64 x 60 pixels, 45 x 50 on average'``."""
        (w0, h0), (w1, h1) = self.sizes.min(0), self.sizes.max(0)
        if (w0, h0) == (w1, h1):
            return f'all {w0} x {h0} pixels'
        w, h = self.sizes.mean(0)
        return f'{w0} to {w1} pixels wide and {h0} to {h1} high, {w:.0f} x {h:.0f} on average'

    def mode_text(self) -> str:
        """Return the modes in words: ``'RGB 180, P 12'``."""
        return ', '.join(f'{mode} {count:,}' for mode, count in self.modes.most_common())


def look_at(part: Part) -> Look:
    """Decode some images of a part.

    Args:
        part: The training images.
    """
    chosen = [part.chosen[int(index)] for index in np.linspace(0, len(part.chosen) - 1, min(_MOST, len(part.chosen)))]
    sizes, pixels, unreadable, modes = [], [], [], Counter[str]()
    for index in chosen:
        try:
            with part.images.open(index) as image:
                modes[image.mode] += 1
                size = image.size
                image.draft(None, (_SIDE, _SIDE))  # decodes a large JPEG faster
                image.load()
                small = upright(image, 'RGB')
        except Exception:  # Pillow raises errors of any type
            unreadable.append(part.images.samples[index][0])
            continue
        sizes.append(size)
        pixels.append(np.asarray(small.resize((_SIDE, _SIDE), Image.Resampling.NEAREST), np.float32) / 255)
    images: np.ndarray = np.stack(pixels or [np.zeros((1, 1, 3), np.float32)])
    is_grey = bool(pixels) and bool((np.ptp(images, axis=-1) == 0).all())
    if is_grey:
        images = images[..., :1]
    mean, std = np.mean(images, (0, 1, 2)), np.std(images, (0, 1, 2))
    sides = np.array(sizes or [(0, 0)])
    return Look(len(pixels), sides, modes, is_grey, mean.round(4).tolist(), std.round(4).tolist(), unreadable)
