"""Describing an exported model for programs that only run it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from motivation.datasets.decoding import DecoderName
from motivation.errors import ConfigError
from motivation.export.deployable import Deployable
from motivation.export.origin import ORIGIN
from motivation.models.timm_classifier import OUTPUTS
from motivation.registry import TRANSFORMS, refuse_other_code
from motivation.utils.files import read_object, write_whole


def write_description(deployable: Deployable, name: str, digest: str, path: Path) -> None:
    """Write ``description.json``: the metainfo of a model, its name, and the weights that it was made from.

    Args:
        deployable: The model.
        name: ``'base'``, ``'motivated'``, ``'base_ema'``, ...
        digest: SHA-256 of its ``.pth``, see :func:`~motivation.utils.files.sha256`.
        path: Path of the file.

    Raises:
        OSError: The file cannot be written.
    """
    content = json.dumps({'model': name, ORIGIN: digest, **deployable.metainfo}, indent=1, ensure_ascii=False) + '\n'
    write_whole(path, lambda file: file.write(content.encode()))


def read_description(path: Path) -> dict[str, Any]:
    """Read a ``description.json``.

    Returns:
        ``'model'``: its name; ``'made_from'``: the SHA-256 of its ``.pth``; ``'classes'``, ``'input_size'``, ``'mean'``, ``'std'``, ``'image_mode'``,
        ``'decoder'``, ``'transforms'`` and ``'outputs'``, see :func:`~motivation.models.exported_file.load_exported`, ``None`` where not known.

    Raises:
        ConfigError: The file is missing or damaged, or names transforms that are not registered.
    """
    if not path.is_file():
        raise ConfigError(f"'{path}' does not exist, which describes the images of the model; export the model again")
    content = read_object(path, 'export the model again')
    for name, (is_valid, expected) in _FIELDS.items():
        if content.setdefault(name) is not None and not is_valid(content[name]):
            raise ConfigError(f"'{path}' is damaged: {name} is not {expected}; export the model again")
    try:
        refuse_other_code(TRANSFORMS, content['transforms'])
    except ConfigError as error:
        raise ConfigError(f"'{path}' is refused: {error}") from error
    return content


def _list_of(is_item: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(is_item, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_size(value: Any) -> bool:
    return len(value) == 3 and all(type(side) is int and side > 0 for side in value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


# What each value must be, beside None.
_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    'model': (_is_text, 'a name'),
    ORIGIN: (_is_text, 'a digest'),
    'classes': (_list_of(_is_text), 'a list of names'),
    'input_size': (lambda value: isinstance(value, list) and _is_size(value), '[channels, height, width]'),
    'mean': (_list_of(_is_number), 'a list of numbers'),
    'std': (_list_of(lambda value: _is_number(value) and value > 0), 'a list of numbers above 0'),
    'image_mode': (_is_text, 'a mode of Pillow'),
    'decoder': (lambda value: value in get_args(DecoderName), ' or '.join(map(repr, get_args(DecoderName)))),
    'outputs': (lambda value: value in OUTPUTS, ' or '.join(map(repr, OUTPUTS))),
    'transforms': (
        lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value),
        'a list of transforms',
    ),
}
