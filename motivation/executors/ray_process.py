"""The process of a run that a Ray worker starts, and with which it ends."""

import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any

import motivation
from motivation.executors.executor import RunRequest
from motivation.utils.exit_signals import end_quietly
from motivation.utils.lock import FolderInUseError, lock_folder
from motivation.utils.portable import end_with_parent

# Seconds to wait for the end of another process in the folder, such as that of a lost node on shared storage.
_PATIENCE = 600


def main(assignment: dict[str, Any]) -> None:
    """Execute a run, or go on with it, unless it has finished.

    Args:
        assignment: ``name``, ``config``, ``folder`` and ``reads`` of a :class:`RunRequest`, the ``script`` to execute
            and the process ID of the ``worker``.
    """
    end_with_parent(assignment['worker'])
    end_quietly()
    request = RunRequest(
        name=assignment['name'],
        config=Path(assignment['config']),
        folder=Path(assignment['folder']),
        reads=tuple(map(Path, assignment['reads'])),
    )
    _wait_for_lock(request.folder)
    if (request.folder / 'report.json').is_file():  # an earlier attempt was lost after its end
        return
    script = Path(motivation.__file__).parent / assignment['script']
    sys.argv = [str(script), *request.arguments()]
    sys.path[0] = str(script.parent)
    runpy.run_path(str(script), run_name='__main__')


def _wait_for_lock(folder: Path) -> None:
    """Lock the folder of the run, after the end of any other process that uses it."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return lock_folder(folder)
        except FolderInUseError as error:
            if time.monotonic() > deadline:
                sys.exit(f'error: {error}')
        time.sleep(0.2)


if __name__ == '__main__':
    main(json.loads(sys.argv[1]))
