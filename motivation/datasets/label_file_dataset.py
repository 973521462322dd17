"""The dataset of images that a file lists with their labels."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from mmengine.logging import print_log

from motivation.datasets.decoded_images import DecodedImages, kept_in_memory
from motivation.datasets.decoding import Decoder, DecoderName
from motivation.datasets.image_dataset import ImageDataset
from motivation.datasets.label_cells import Columns
from motivation.datasets.listed_files import ListedFiles
from motivation.errors import ArgumentError
from motivation.registry import DATASETS
from motivation.utils.arguments import checked


@DATASETS.register_module()
class LabelFileDataset(ImageDataset):
    """Images listed with their label, or several labels, in a CSV, TSV or JSON lines file.

    A row is an image: its path and its label. The file is read and checked when the dataset is built; a row without a label,
    with a label that is no class, or whose image does not exist is an error with its line. Rows that may be mistakes
    (images listed twice, images without any of several labels, classes without images) are counted in a warning.

    Labels are names of classes, or their numbers from 0 if none of the names is a number. Images are decoded, kept in
    memory and skipped as those of a :class:`~motivation.datasets.TimmDataset`.

    Args:
        file: The list: ``.csv``, ``.tsv`` or ``.txt`` with a header, or ``.jsonl`` or ``.ndjson`` with one object a line; in
            UTF-8.
        root: Folder that paths of images are relative to; ``None`` (default) for the folder of ``file``.
        split: Value in the column of splits of the rows to take; ``None`` (default) for a file that has no such column.
        transforms: Configs of the transforms, applied in order.
        path_column: Name of the column of paths. Default: ``'path'``.
        label_column: Name of the column of labels. Default: ``'label'``.
        label_columns: Names of the columns of classes, one for each, which hold 0 or 1; these names are the classes.
            Default: none, labels are in ``label_column``.
        split_column: Name of the column of splits, ``'split'`` by default; ``None`` to ignore it.
        several_labels: Whether an image has any number of labels: in a cell joined by ``separator``, in JSON as a list, or
            in ``label_columns``. Targets are then float32 (K,) of 0 and 1. Default: ``False``, exactly one.
        separator: What joins several labels in a cell. Default: ``';'``.
        classes: Class names in the order in which they are numbered: a list, a file with one name a line, or a folder whose
            subfolders are the classes. ``None`` (default) for the labels of all rows, whatever their split, in natural
            order, or for ``label_columns``.
        image_mode: See :class:`~motivation.datasets.TimmDataset`, as for the following.
        cache_mib: Memory for decoded images in MiB.
        on_error: What to do with an image that is missing or unreadable; mistakes in labels are errors always.
        decoder: What decodes images that are read on every access.

    Raises:
        ConfigError: The file cannot be read, a column is missing or a row is invalid; names the line.

    Example:
        >>> dataset = dict(type='LabelFileDataset', file='data/labels.csv', root='data/images', split='train')
    """

    @checked
    def __init__(
        self,
        file: str,
        root: str | None = None,
        split: str | None = None,
        transforms: Sequence[dict[str, Any]] = (),
        path_column: str = 'path',
        label_column: str = 'label',
        label_columns: Sequence[str] = (),
        split_column: str | None = 'split',
        several_labels: bool = False,
        separator: str = ';',
        classes: Sequence[str] | str | None = None,
        image_mode: str = 'RGB',
        cache_mib: int = 1024,
        on_error: Literal['raise', 'skip'] = 'raise',
        decoder: DecoderName = 'opencv',
    ) -> None:
        if not separator:
            raise ArgumentError('separator', f'must be a sign between labels, got {separator!r}')
        columns = Columns(path_column, label_column, label_columns, split_column, separator)
        folder = str(Path(file).parent) if root is None else root
        opened = ListedFiles(file, folder, split, columns, several_labels, classes, allow_missing=on_error == 'skip')
        if opened.remarks:
            print_log(f'{file!r}: {"; ".join(opened.remarks)}', 'current', logging.WARNING)
        decoded = DecodedImages(opened, Decoder(decoder, image_mode))
        source: Any = kept_in_memory(decoded, cache_mib, on_error) or decoded
        super().__init__(source, [*opened.class_to_idx], transforms, on_error, several_labels)
