"""Telling whether what was made from trained models is of the weights that they have now."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from motivation.utils.files import sha256

# The field of description.json and of parity reports with the digest of their model, and of cascade.json with those of both.
ORIGIN = 'made_from'

# What the name of a parity report adds to that of its file.
PARITY = '.parity.json'

# The file beside exported models that says how images are prepared, and which classes there are.
DESCRIPTION = 'description.json'


def outdated_files(exported: Path, models: Mapping[str, Path]) -> dict[str, list[str]]:
    """Return the exported files that were made from other weights, by the name of their model.

    Args:
        exported: The folder of exported models.
        models: Path of each ``.pth`` by the name of the model.
    """
    found = {}
    for name, path in models.items():
        reports = {report.name.removesuffix(PARITY): report for report in (exported / name).glob(f'*{PARITY}')}
        origins = {
            file: _origin(report) for file, report in {**reports, DESCRIPTION: exported / name / DESCRIPTION}.items()
        }
        there = {file: origin for file, origin in origins.items() if origin and (exported / name / file).exists()}
        if there:
            digest = sha256(path)
            found[name] = sorted(file for file, origin in there.items() if origin != digest)
    return {name: files for name, files in found.items() if files}


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
