"""Decoding of image files: upright, of one mode, by OpenCV or Pillow, and not larger than is needed."""

import re
from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps
from torchvision.transforms import v2

from motivation.utils.native_messages import NativeMessages

DecoderName = Literal['opencv', 'pillow', 'scaled']

# The tag of EXIF data that says how an image is to be turned, and its value for an image that is upright already.
_ORIENTATION, _UPRIGHT = 0x0112, 1

# OpenCV's flags by mode; the orientation is looked at before.
_FLAGS = {
    'RGB': cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION,
    'L': cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION,
}

# The marker at the end of a JPEG, and how many bytes of other things may come after it.
_END, _TRAILING = b'\xff\xd9', 1024

# A marker in the scan of a JPEG (ITU-T T.81, B.1.1): neither a stuffed byte, a restart marker nor a fill byte.
_MARKER = re.compile(rb'\xff[^\x00\xd0-\xd7\xff]')

# By how much libjpeg can shrink an image while it decodes it.
_SCALES = (8, 4, 2)

# Pillow's filter for each interpolation of torchvision's that averages over the pixels of a smaller one.
_FILTERS = {'bilinear': Image.Resampling.BILINEAR, 'bicubic': Image.Resampling.BICUBIC}


class Decoder:
    """Decodes opened image files to images of one mode.

    Only JPEG files that are upright and of the mode are decoded by anything but Pillow, and a file that OpenCV
    refuses, or would accept although it is broken, is left to Pillow: all else is read, or is unreadable, with each
    decoder alike.

    Args:
        name: ``'opencv'`` decodes with OpenCV, whose pixels are Pillow's; ``'pillow'`` with Pillow;
            ``'scaled'`` at 1/2, 1/4 or 1/8 of the size where the first transform takes no more than that, of which
            libjpeg computes 1/4, 1/16 or 1/64 of the pixels, and otherwise with OpenCV.
        mode: PIL mode of the images, ``'RGB'`` or ``'L'``.

    Attributes:
        first: The transform that is applied in decoding; ``None`` at first.
        complaints: What libjpeg has said about the pixels of the last image, which it decoded nevertheless.
    """

    def __init__(self, name: DecoderName, mode: str) -> None:
        self.name = name
        self.mode = mode
        self.first: Any = None
        self.complaints: list[str] = []
        self._messages = NativeMessages()

    def take_over(self, first: Any) -> bool:
        """Apply a transform in decoding, with the random numbers that it would draw, if this saves any decoding.

        Args:
            first: The first transform.

        Returns:
            Whether it is applied in decoding, and so is not to be applied again.
        """
        if self.name == 'scaled' and _can_scale(first):
            self.first = first
        return self.first is not None

    def __call__(self, image: ImageFile.ImageFile) -> Any:
        """Decode an image.

        Args:
            image: An image that :func:`PIL.Image.open` has opened, whose pixels are not read yet.

        Returns:
            A PIL image from ``'pillow'``, else a uint8 tensor (C, H, W); of ``first``'s size if it has one.

        Raises:
            Exception: Whatever Pillow raises for an image that it cannot decode.
        """
        self.complaints = []
        if self.name == 'pillow':
            image.load()
            return upright(image, self.mode)
        orientation = image.getexif().get(_ORIENTATION, _UPRIGHT)
        if image.format == 'JPEG' and image.mode == self.mode in _FLAGS and orientation == _UPRIGHT:
            return self._by_opencv(image) if self.first is None else self._scaled(image, self.first)
        image.load()
        pixels = v2.functional.pil_to_tensor(upright(image, self.mode))
        return pixels if self.first is None else self.first(pixels)

    def _by_opencv(self, image: ImageFile.ImageFile) -> torch.Tensor:
        """Return the pixels of an opened JPEG."""
        assert image.fp is not None
        scan = image.fp.tell()  # which Pillow has read up to
        image.fp.seek(0)
        data = image.fp.read()
        if _is_whole(data, scan, bool(image.info.get('progressive'))):
            with self._messages.collected() as self.complaints:  # which libjpeg writes without the name of the image
                pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS[image.mode])
            if pixels is not None:
                return torch.from_numpy(pixels[..., None] if pixels.ndim == 2 else _as_rgb(pixels)).permute(2, 0, 1)
        return v2.functional.pil_to_tensor(image)

    def _scaled(self, image: ImageFile.ImageFile, first: Any) -> torch.Tensor:
        """Return what a crop or resize makes of an opened JPEG, decoded at the smallest scale that is not enlarged."""
        width, height = image.size
        # Torchvision reads no more of an image here than its size, and draws as it would for the image itself.
        params = first.make_params([image])
        top, left, rows, columns = 0, 0, height, width
        if isinstance(first, v2.RandomResizedCrop):
            top, left, rows, columns = (params[side] for side in ('top', 'left', 'height', 'width'))
        size = _output_size(first.size, rows, columns)
        scale = next((scale for scale in _SCALES if rows >= scale * size[0] and columns >= scale * size[1]), 1)
        if scale == 1:
            return first.transform(self._by_opencv(image), params)
        image.draft(None, (width // scale, height // scale))
        image.load()
        box = (left / scale, top / scale, (left + columns) / scale, (top + rows) / scale)
        return v2.functional.pil_to_tensor(image.resize((size[1], size[0]), _filter(first), box))


def _is_whole(data: bytes, scan: int, is_progressive: bool) -> bool:
    """Return whether a JPEG has its end, and in the only scan, if it is not progressive, no marker before it.

    OpenCV fills in what follows a wrong marker, and before version 5 what is missing of a file, where Pillow says that the
    file is broken. It refuses broken progressive files itself.

    Args:
        data: The file.
        scan: Place at which its first scan begins, or one before it.
        is_progressive: Whether it has several scans, with tables between them.
    """
    if _END not in data[-_TRAILING:]:
        return False
    marker = None if is_progressive else _MARKER.search(data, scan)
    return is_progressive or (marker is not None and marker[0] == _END)


def _as_rgb(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, pixels)


def _can_scale(first: Any) -> bool:
    """Return whether a transform is a crop or resize whose sizes are known by the size of an image alone."""
    if isinstance(first, v2.Resize) and (first.size is None or first.max_size is not None):
        return False
    return isinstance(first, (v2.RandomResizedCrop, v2.Resize)) and _filter(first) is not None


def _filter(transform: Any) -> Image.Resampling | None:
    # Torchvision keeps a member of its enumeration or its value, depending on the version.
    return _FILTERS.get(getattr(transform.interpolation, 'value', transform.interpolation))


def _output_size(size: Sequence[int], rows: int, columns: int) -> Sequence[int]:
    """Return (h, w) of a resize to a size of one number, of the shorter side, or two."""
    if len(size) == 2:
        return size
    shorter = min(rows, columns)
    return [int(size[0] * side / shorter) for side in (rows, columns)]


def upright(image: Image.Image, mode: str) -> Image.Image:
    """Return a copy of a decoded image, turned according to its EXIF orientation and converted to a mode.

    Raises:
        ValueError: Its grey levels have no known scale.
    """
    file_format = image.format
    image = ImageOps.exif_transpose(image)  # always copies; the source may keep its images in memory
    if image.mode == mode:
        return image
    if image.mode.startswith('I;16') or (image.mode == 'I' and file_format == 'PPM'):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))  # Pillow would clip at 255
    if image.mode in ('I', 'F'):
        raise ValueError(f'its grey levels, of mode {image.mode!r}, have no known scale: save them with 8 or 16 bits')
    image.info.pop('transparency', None)  # avoids Pillow's warning about dropping it
    return image.convert(mode)
