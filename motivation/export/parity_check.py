"""Checking an exported file against the report of its measurement."""

import json
from pathlib import Path

from motivation.errors import ConfigError, one_line
from motivation.export.origin import PARITY
from motivation.utils.files import sha256


def require_as_measured(path: Path) -> None:
    """Check that a file is the one that ``<file>.parity.json`` beside it accepts.

    Without a report, or a ``'sha256'`` in it, nothing is checked.

    Args:
        path: The exported file.

    Raises:
        ConfigError: The report is damaged, or refuses the file, or the file has other bytes than were measured.
    """
    report = path.with_name(path.name + PARITY)
    if not report.is_file():
        return
    try:
        content = json.loads(report.read_bytes())
        digest, accepted = content.get('sha256'), content.get('accepted', True)
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise ConfigError(
            f"'{report}' is damaged, so that '{path}' cannot be checked; export the model again"
        ) from error
    if not isinstance(digest, str | None) or not isinstance(accepted, bool):
        raise ConfigError(f"'{report}' is damaged, so that '{path}' cannot be checked; export the model again")
    if not accepted:
        why = one_line(str(content.get('reason') or 'no reason is given'), 160)
        raise ConfigError(f"'{path}' was refused at its export ({why}); use another file of the model")
    if digest is not None and sha256(path) != digest.lower():
        raise ConfigError(
            f"'{path}' is damaged or replaced: its SHA-256 is not that in '{report}'; copy it anew, or export the model again"
        )
