import errno
from pathlib import Path

import pytest

from motivation.engine.write_failures import WriteFailures
from motivation.errors import TrainingError


def full():
    raise OSError(errno.ENOSPC, 'No space left on device')


def test_failures_are_announced_and_end_the_run_unless_a_later_try_succeeds():
    said = []
    failures = WriteFailures(said.append)
    failures.try_to_write(Path('run/report.json'), full)
    failures.try_to_write(Path('run/base.pth'), full)
    failures.try_to_write(Path('run/base.pth'), lambda: None)
    assert said == [
        f"'run/{name}' cannot be written (No space left on device); the run goes on: make room"
        for name in ('report.json', 'base.pth')
    ]
    with pytest.raises(
        TrainingError, match=r"^'run' lacks report\.json \(No space left on device\): make room, then --resume"
    ):
        failures.check('run')
    failures.try_to_write(Path('run/report.json'), lambda: None)
    failures.check('run')


def test_log_that_lacks_steps_is_announced_once():
    said = []
    failures = WriteFailures(said.append)
    for _ in range(2):
        failures.lose_log('run/log', OSError(errno.ENOSPC, 'No space left on device'))
    assert said == ["the log in 'run/log' cannot be written (No space left on device) and will lack steps; make room"]
