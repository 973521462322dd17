"""Lists of class names: from a config, a file or the folders of another split."""

import os
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from motivation.datasets.image_files import composed, is_hidden, natural_key, shortlist
from motivation.errors import ArgumentError, near_matches

# How to write class names, in messages.
CLASSES = 'a list of names, a file with one a line, or a folder with a subfolder for each'


def read_classes(classes: Sequence[str] | str) -> list[str]:
    """Return class names, in the order in which classes are numbered.

    Args:
        classes: The names; or the path of a text file in UTF-8 with one name a line; or the path of a folder, whose
            subfolders are the classes, in natural order.

    Raises:
        ArgumentError: A name is there twice or blank, or there is no such file or folder.
    """
    if not isinstance(classes, str):
        return _checked(classes, 'number {} of the list'.format)
    if Path(classes).is_dir():
        folders = [entry.name for entry in os.scandir(classes) if entry.is_dir() and not is_hidden(entry.name)]
        return _checked(sorted(folders, key=natural_key), lambda _: f'the folder {classes!r}')
    try:
        text = Path(classes).read_bytes().decode('utf-8-sig').rstrip()
    except OSError as error:
        raise ArgumentError(
            'classes', f'is {classes!r}, which cannot be read ({error.strerror}); give {CLASSES}'
        ) from error
    except UnicodeDecodeError as error:
        raise ArgumentError('classes', f'is {classes!r}, which is not in UTF-8; save it as UTF-8') from error
    return _checked(text.splitlines() if text else (), lambda place: f'{classes!r}, line {place + 1:,}')


def renumber(found: Sequence[str], classes: Sequence[str], place: str) -> list[int]:
    """Return the index in a list of class names of each class of a data set.

    Args:
        found: Names of the classes of the data set, in its own order.
        classes: The list. Classes of it that the data set lacks are no mistake.
        place: What the data set is, for messages.

    Returns:
        Indices by name; where the names of the data set are but their numbers from 0, and no names of the list, these.

    Raises:
        ArgumentError: The data set has classes that are not in the list.
    """
    index_of = {name: index for index, name in enumerate(classes)}
    names = [composed(name) for name in found]
    extra = [name for name in names if name not in index_of]
    if not extra:
        return [index_of[name] for name in names]
    if names == [str(number) for number in range(len(names))] and len(names) <= len(classes):
        return list(range(len(names)))
    raise ArgumentError(
        'classes',
        f'lacks {shortlist(extra)}, {len(extra):,} of the {len(names):,} classes of {place}; add them to the list, or correct it '
        f'({near_matches(extra[0], classes)})',
    )


def class_difference(classes: Sequence[Any], others: Sequence[Any], place: str, other: str) -> str:
    """Return a clause on how two lists of class names differ: the first index that does, and the names in one of them.

    Args:
        classes: Class names by index. Names are compared in Unicode normal form C.
        others: Those of the other list.
        place: Where the first list is, for the clause.
        other: Where the other is.

    Returns:
        ``"class 1 is 'dog' in A and 'fox' in B, which lacks 'dog'"``; ``''`` if the lists are equal.
    """
    ours, theirs = ([composed(str(name)) for name in names] for names in (classes, others))
    if ours == theirs:
        return ''
    pairs = enumerate(zip_longest(map(repr, ours), map(repr, theirs), fillvalue='absent'))
    index, names = next((index, names) for index, names in pairs if names[0] != names[1])
    lacks, has = ([name for name in one if name not in set(two)] for one, two in ((ours, theirs), (theirs, ours)))
    clauses = [f'lacks {shortlist(lacks)}'] * bool(lacks) + [f'has {shortlist(has)} more'] * bool(has)
    more = f', which {" and ".join(clauses)}' if clauses else ''
    return f'class {index} is {names[0]} in {place} and {names[1]} in {other}{more}'


def _checked(names: Iterable[str], where: Callable[[int], str]) -> list[str]:
    """Return names in Unicode normal form C without blanks around them, after checking that each is there once."""
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        name = composed(name.strip())
        if not name:
            raise ArgumentError('classes', f'has a blank name ({where(place)}); remove it')
        if name in places:
            raise ArgumentError(
                'classes', f'has the name {name!r} twice ({where(places[name])}, {where(place)}); remove one'
            )
        places[name] = place
    if not places:
        raise ArgumentError('classes', f'has no names; give {CLASSES}')
    return list(places)
