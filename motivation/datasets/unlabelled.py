"""Images without labels, read and transformed as a run reads its validation data."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from motivation.datasets.decoding import Decoder, DecoderName, upright
from motivation.datasets.image_dataset import ImageDataset, unreadable
from motivation.datasets.image_folder import open_file

# Paths of image files, or images in memory.
Images = Sequence['str | os.PathLike[str] | Image.Image']


class UnlabelledImages(ImageDataset):
    """A dataset of images without labels, in which an image that cannot be used is a sample with its problem.

    Args:
        images: Paths of image files, or PIL images.
        transforms: Configs of the transforms, applied in order.
        image_mode: PIL mode to convert images to.
        decoder: What decodes files, see :class:`~motivation.datasets.TimmDataset`.
        input_size: (C, H, W) that an image must have after the transforms.

    Raises:
        ConfigError: A transform cannot be built.
    """

    def __init__(
        self,
        images: Images,
        transforms: Sequence[dict[str, Any]],
        image_mode: str,
        decoder: DecoderName,
        input_size: Sequence[int],
    ) -> None:
        self.decode = Decoder(decoder, image_mode)
        super().__init__(cast(Any, _Opened(images, self.decode)), [''], transforms, on_error='skip')
        self.input_size = tuple(input_size)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a transformed image.

        Returns:
            ``'inputs'``: tensor (C, H, W), uint8 from 0 to 255 or float from 0 to 1; or, if it cannot be used,
            ``'problem'``: what is wrong with it, as the end of a sentence. ``'misfits'``: whether it has another size
            than the model takes. ``'remark'``: what its decoder said about pixels that it had to guess, or ``''``.
        """
        sample = super().__getitem__(index)
        said = '; '.join(dict.fromkeys(self.decode.complaints))
        remark = f'is damaged, and some of its pixels may be wrong: {said}' if said else ''
        if 'skipped' in sample:
            return {'problem': sample['skipped'][1], 'misfits': False, 'remark': ''}
        size = tuple(sample['inputs'].shape)
        if size != self.input_size:
            return {'problem': self._misfit(size), 'misfits': True, 'remark': remark}
        return {'inputs': sample['inputs'], 'misfits': False, 'remark': remark}

    def name(self, index: int) -> str:
        """Return the name of an image in messages."""
        return self._name(index)

    def _misfit(self, size: tuple[int, ...]) -> str:
        found, expected = (' x '.join(map(str, shape)) for shape in (size, self.input_size))
        return (
            f'is {found} (channels, height, width) after the transforms of validation, and the model takes {expected}; '
            "resize it, or train with val_dataloader.dataset.transforms=[dict(type='Resize', "
            f'size={list(self.input_size[1:])}), ...]'
        )


class _Opened(Sequence[tuple[Any, int]]):
    """Decoded images, each with the label 0.

    Attributes:
        is_fresh: Whether every access makes an image that nothing else holds.
    """

    is_fresh = True

    def __init__(self, images: Images, decode: Decoder) -> None:
        self.images = images
        self.decode = decode

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:  # type: ignore[override]
        image = self.images[index]
        self.decode.complaints = []
        try:
            if isinstance(image, Image.Image):
                return self._in_memory(image), 0
            with open_file(os.fspath(image)) as opened:
                return self.decode(opened), 0
        except Exception as error:  # decoders raise errors of any type
            raise unreadable(self.name(index), error) from error

    def _in_memory(self, image: Image.Image) -> Any:
        """Return an image as the decoder returns one of a file."""
        image.load()
        decoded = upright(image, self.decode.mode)
        if self.decode.name == 'pillow':
            return decoded
        pixels = v2.functional.pil_to_tensor(decoded)
        return pixels if self.decode.first is None else self.decode.first(pixels)

    def name(self, index: int) -> str:
        """Return the name of an image in messages: its quoted file if it has one, else its index."""
        image = self.images[index]
        return f'image {index}' if isinstance(image, Image.Image) else repr(os.fspath(image))


class UnlabelledBatch(NamedTuple):
    """Samples of :class:`UnlabelledImages`, in order.

    Attributes:
        inputs: Those that can be used, (M, C, H, W) with M up to N; ``None`` if there are none.
        problems: What is wrong with each of the N images; ``''`` for one that can be used.
        remarks: What the decoder said about each.
        misfits: Whether each has another size than the model takes.
    """

    inputs: Tensor | None
    problems: list[str]
    remarks: list[str]
    misfits: list[bool]


def collate_unlabelled(samples: list[dict[str, Any]]) -> UnlabelledBatch:
    """Stack the samples of :class:`UnlabelledImages` that can be used."""
    inputs = [sample['inputs'] for sample in samples if 'inputs' in sample]
    return UnlabelledBatch(
        torch.stack(inputs) if inputs else None,
        [sample.get('problem', '') for sample in samples],
        [sample['remark'] for sample in samples],
        [sample['misfits'] for sample in samples],
    )
