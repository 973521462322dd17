"""Describing an exported model for programs that only run it."""

import json
from pathlib import Path

from motivation.export.deployable import Deployable
from motivation.utils.files import write_whole


def write_description(deployable: Deployable, name: str, path: Path) -> None:
    """Write ``description.json``: the metainfo of a model, and its name.

    Args:
        deployable: The model.
        name: ``'base'``, ``'motivated'``, ``'base_ema'``, ...
        path: Path of the file.

    Raises:
        OSError: The file cannot be written.
    """
    content = json.dumps({'model': name, **deployable.metainfo}, indent=1, ensure_ascii=False) + '\n'
    write_whole(path, lambda file: file.write(content.encode()))
