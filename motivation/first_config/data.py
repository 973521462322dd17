"""Finding the images, classes and splits of a folder or a list."""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from motivation.datasets.image_files import is_hidden, shortlist
from motivation.datasets.image_folder import open_folder
from motivation.datasets.label_cells import Columns
from motivation.datasets.label_table import read_table
from motivation.datasets.listed_files import ListedFiles
from motivation.errors import ArgumentError, ConfigError, counted
from motivation.first_config.one_label import refuse_several

# What the folders, or the values in a column, of each split may be called.
_NAMES = {
    'train': ('train', 'training'),
    'val': ('val', 'valid', 'validation', 'eval', 'evaluation'),
    'test': ('test', 'testing'),
}

# What a list's arguments are called on the command line.
_OPTIONS = {'path_column': '--path-column', 'label_column': '--label-column'}

# Share of the images of each class that a proposed split validates on.
VALIDATION_SHARE = 0.2


@dataclass
class Part:
    """One split of the data.

    Attributes:
        dataset: Fields of the dataset component that reads it, without transforms.
        images: The opened images, with ``open(index)`` and ``samples``: path and class index of each.
        chosen: Indices of ``images`` that belong to the part.
    """

    dataset: dict[str, Any]
    images: Any
    chosen: Sequence[int]

    @property
    def labels(self) -> list[int]:
        """The class index of each image."""
        return [self.images.samples[index][1] for index in self.chosen]


@dataclass
class Data:
    """The images that were found.

    Attributes:
        source: The folder or file, as it was given.
        classes: Class names.
        train: The training images.
        val: The validation images.
        test: The test images, those of validation if there are no others.
        split_rows: Rows (path, label, split) of the list to write for a proposed split; empty if the data have one.
        remarks: Sentences about what was passed over or decided.
    """

    source: str
    classes: list[str]
    train: Part
    val: Part
    test: Part
    split_rows: list[tuple[str, str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def find_data(source: str, list_file: str, path_column: str = 'path', label_column: str = 'label') -> Data:
    """Find the images, classes and splits of a folder or a list.

    Args:
        source: A folder with ``train/<class>/`` and ``val/<class>/``, or with ``<class>/`` only; or a CSV, TSV or JSON
            lines file with an image and a label a row, and maybe a column ``split``.
        list_file: Path of the list that will name the split of every image, where the data have none.
        path_column: Column of the paths in a list.
        label_column: Column of the labels.

    Raises:
        ConfigError: There are no images with classes.
    """
    path = Path(source)
    if not path.exists():
        raise ConfigError(
            f'{source!r} does not exist; give a folder of images, or a CSV or JSON lines file that lists them'
        )
    try:
        data = (
            _of_folder(source, list_file) if path.is_dir() else _of_list(source, list_file, path_column, label_column)
        )
    except ArgumentError as error:
        if error.argument not in _OPTIONS:
            raise
        raise ConfigError(f'{_OPTIONS[error.argument]} {error.problem}') from error
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        raise ConfigError(
            f'{source!r} has no images in class folders ({" ".join(str(error).split())}); put those of each class into a '
            'folder named like it, or list them in a CSV with the columns path and label'
        ) from error
    if len(data.classes) < 2:
        raise ConfigError(f'{source!r} has only the class {data.classes[0]!r}; a classifier needs two or more')
    return data


def _of_folder(source: str, list_file: str) -> Data:
    folders = {entry.name for entry in os.scandir(source) if entry.is_dir() and not is_hidden(entry.name)}
    found = _by_split(folders)
    if 'train' not in found:
        if found:
            raise ConfigError(
                f'{source!r} has the folders {shortlist(sorted(folders))}, and none for training; name one of them train'
            )
        images = open_folder(source)
        return _proposed(source, list_file, source, images, [*images.class_to_idx], images.remarks)
    root = source.rstrip('/\\') or source
    opened = {split: open_folder(f'{root}/{folder}') for split, folder in found.items()}
    train, classes = opened['train'], [*opened['train'].class_to_idx]
    remarks = [f'{folder}: {remark}' for split, folder in found.items() for remark in opened[split].remarks]
    if len(found) == 1:
        data = _proposed(source, list_file, source, train, classes, remarks)
        data.remarks.append(f'{source!r} has no folder for validation')
        return data
    parts = {}
    for split, folder in found.items():
        own = [*opened[split].class_to_idx]
        extra = [name for name in own if name not in classes]
        if extra:
            raise ConfigError(
                f"'{root}/{folder}' has classes that '{root}/{found['train']}' lacks: {shortlist(extra)}; "
                'rename or move them, so that both have the same'
            )
        dataset = dict(type='TimmDataset', root=source, split=folder)
        if own != classes:  # which numbers the classes as in training
            dataset['classes'] = f'{root}/{found["train"]}'
        parts[split] = Part(dataset, opened[split], range(len(opened[split])))
    if 'val' not in parts:
        remarks.append(
            f"{source!r} has no folder for validation, so '{found['test']}' is used: its results are no test"
        )
    val = parts.get('val') or parts['test']
    return Data(source, classes, parts['train'], val, parts.get('test', val), remarks=remarks)


def _by_split(names: Sequence[str] | set[str]) -> dict[str, str]:
    """Return the name that stands for each split, where all names do."""
    found = {
        split: name for split, known in _NAMES.items() for name in sorted(names, reverse=True) if name.lower() in known
    }
    return found if len(found) == len(names) else {}


def _of_list(source: str, list_file: str, path_column: str, label_column: str) -> Data:
    folder = str(Path(source).parent)
    table = read_table(source, path_column, [label_column, 'split'])
    refuse_several(table, path_column, label_column)
    splits = {str(cell) for cell in table.columns.get('split', ())}
    found = _by_split(splits)
    if splits and 'train' not in found:
        raise ConfigError(
            f'{source!r} has the splits {shortlist(sorted(splits))}; name them train, val and, if there is one, test'
        )
    named = {'path_column': (path_column, 'path'), 'label_column': (label_column, 'label')}
    fields = {name: value for name, (value, default) in named.items() if value != default}

    def opened(split: str | None) -> ListedFiles:
        column = None if split is None else 'split'
        columns = Columns(path_column, label_column, (), column, ';')
        return ListedFiles(source, folder, split, columns, False, None, allow_missing=False)

    if len(found) < 2:
        images = opened(None if not splits else found['train'])
        return _proposed(source, list_file, folder, images, [*images.class_to_idx], images.remarks)
    parts = {}
    for split, value in found.items():
        images = opened(value)
        parts[split] = Part(
            dict(type='LabelFileDataset', file=source, split=value, **fields), images, range(len(images))
        )
    val = parts.get('val') or parts['test']
    classes = [*parts['train'].images.class_to_idx]
    return Data(
        source, classes, parts['train'], val, parts.get('test', val), remarks=list(parts['train'].images.remarks)
    )


def _proposed(source: str, list_file: str, root: str, images: Any, classes: list[str], remarks: Sequence[str]) -> Data:
    """Return the data of one part, divided by class; the same images give the same split."""
    random_order = random.Random(0)
    by_class: dict[int, list[int]] = {}
    for index, (_, label) in enumerate(images.samples):
        by_class.setdefault(label, []).append(index)
    validated: set[int] = set()
    for label in sorted(by_class):
        own = by_class[label]
        count = max(round(VALIDATION_SHARE * len(own)), 1) if len(own) > 1 else 0
        validated.update(random_order.sample(own, count))
    alone = [classes[label] for label, own in by_class.items() if len(own) == 1]
    notes = [
        *remarks,
        f'a split was proposed: {VALIDATION_SHARE:.0%} of each class for validation, listed in {list_file!r}',
    ]
    if alone:
        notes.append(f'classes of one image, which no validation image shows: {len(alone):,} ({shortlist(alone)})')
    if not validated:
        raise ConfigError(
            f'{source!r} has {counted(len(images.samples), "image")}, one a class; give two or more of each'
        )
    rows = [
        (
            PurePath(os.path.relpath(path, root)).as_posix(),
            classes[label],
            'val' if index in validated else 'train',
        )
        for index, (path, label) in enumerate(images.samples)
    ]

    def part(split: str) -> Part:
        dataset = dict(type='LabelFileDataset', file=list_file, root=root, split=split)
        return Part(dataset, images, [index for index, row in enumerate(rows) if row[2] == split])

    val = part('val')
    return Data(source, classes, part('train'), val, val, rows, notes)
