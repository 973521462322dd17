"""The picture of a batch."""

import io

import numpy as np
from PIL import Image

from motivation.report.batch_picture import _LARGEST, _wrapped, draw_batch


def drawn(groups, labels):
    file = io.BytesIO()
    draw_batch(groups, labels, file)
    return np.asarray(Image.open(file))


def test_small_images_are_drawn_with_their_own_pixels():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (3, 3, 8, 8), dtype=np.uint8)
    sheet = drawn({'base': images}, [['cat'], ['cat', 'dog'], []])
    enlarged = np.moveaxis(images, 1, 3).repeat(14, 1).repeat(14, 2)  # 8 pixels on at least 112
    for place, image in enumerate(enlarged):
        left = 12 + place * (112 + 12)
        assert np.array_equal(sheet[42 : 42 + 112, left : left + 112], image)
        below = sheet[42 + 112 : 42 + 112 + 20, left : left + 112]
        assert (below < 128).any()  # its names, or that it has none


def test_groups_of_different_sizes_stand_below_each_other_and_large_images_are_reduced():
    grey, large = np.zeros((2, 1, 16, 16), np.uint8), np.zeros((2, 3, 512, 256), np.uint8)
    sheet = drawn({'base': grey, 'motivated': large}, [['a'], ['b']])
    columns = (sheet == 0).all(2).sum(0)
    assert columns.max() == 112 + _LARGEST
    assert ((sheet == 0).all(2).sum(1) >= 2 * 112).sum() == 112 + _LARGEST


def test_long_names_are_wrapped_and_cut_within_their_width():
    class Fixed:
        @staticmethod
        def getlength(text):
            return 10 * len(text)

    assert _wrapped('cat, dog', 100, Fixed) == ['cat, dog']
    assert _wrapped('tabby cat, dog', 100, Fixed) == ['tabby cat,', 'dog']
    assert _wrapped('abcdefghijklm', 100, Fixed) == ['abcdefghi…']
    assert _wrapped('aaaaaaaa bbbbbbbb cccccccc dddddddd', 100, Fixed) == ['aaaaaaaa', 'bbbbbbbb', 'cccccccc…']
