"""Telling whether what was made from trained models is of the weights that they have now."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from motivation.utils.files import sha256

# The field of description.json with the digest of its model, and of cascade.json with those of both.
ORIGIN = 'made_from'


def outdated_exports(exported: Path, models: Mapping[str, Path]) -> list[str]:
    """Return the names of exported models that were made from other weights.

    Args:
        exported: The folder of exported models.
        models: Path of each ``.pth`` by the name of the model.
    """
    recorded = {name: _origin(exported / name / 'description.json') for name in models}
    return [name for name, path in models.items() if recorded[name] not in (None, sha256(path))]


def is_outdated(path: Path, models: Mapping[str, Path]) -> bool:
    """Return whether a ``cascade.json`` was made from other weights.

    Args:
        path: The file, which need not exist.
        models: Path of each ``.pth`` by the name of the model.
    """
    recorded = _origin(path)
    return isinstance(recorded, dict) and any(
        name in models and digest != sha256(models[name]) for name, digest in recorded.items()
    )


def _origin(path: Path) -> Any:
    """Return the origin in a file; ``None`` if it is not known, as of a file that is not there or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content.get(ORIGIN) if isinstance(content, dict) else None
