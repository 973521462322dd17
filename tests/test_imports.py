"""What a run imports before it trains, and that the package imports where systems other than Linux lack something."""

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from motivation.utils import portable
from tests.conftest import ROOT
from tests.forked import run_forked

# Modules that cost time at the start, and may be imported when they are needed only.
UNNEEDED = [
    'matplotlib.figure',
    'fvcore',
    'sklearn',
    'scipy',
    'pandas',
    'codecarbon',
    'hypothesis',
    'pytest',
    'datasets',
    'webdataset',
]
# Names that Windows lacks; macOS lacks fewer.
LACKING = {
    'os': 'fork register_at_fork getuid geteuid WNOHANG getloadavg sched_getaffinity set_blocking killpg setsid '
    'getpgid uname statvfs mkfifo fchmod O_NONBLOCK sysconf',
    'signal': 'SIGUSR1 SIGUSR2 SIGHUP SIGALRM SIGCHLD alarm setitimer pthread_sigmask',
    'errno': 'EDQUOT',
}
MODULES = 'fcntl resource termios pwd grp pty tty syslog'

PROGRAM = f"""
import sys, warnings
warnings.simplefilter('ignore')
import motivation.cli, motivation.hooks, motivation.policies, motivation.evaluation, motivation.compute.macs
print(*(name for name in {UNNEEDED} if name in sys.modules))
"""

# The packages of others are imported before anything is hidden: what they need on Windows is theirs to know.
HIDING = f"""
import importlib, pkgutil, sys, types
import fvcore.nn, matplotlib.figure, rich.progress, torchmetrics, mmengine.registry
for name in [name for name in sys.modules if name.partition('.')[0] == 'motivation']:
    del sys.modules[name]
for registry in vars(mmengine.registry).values():
    if isinstance(registry, mmengine.registry.Registry):
        registry.children.clear()
for name in '{MODULES}'.split():
    sys.modules[name] = None
for owner, names in {LACKING}.items():
    for name in names.split():
        if hasattr(sys.modules[owner], name):
            delattr(sys.modules[owner], name)
sys.modules['msvcrt'] = types.ModuleType('msvcrt')
import motivation
names = [module.name for module in pkgutil.walk_packages(motivation.__path__, 'motivation.')]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def test_run_starts_without_modules_that_it_does_not_need_yet():
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM],
        capture_output=True, text=True, check=True, env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )  # fmt: skip
    assert done.stdout.split() == []


def test_every_module_imports_without_what_windows_lacks():
    Path('hiding.py').write_text(HIDING)
    (done,) = run_forked('hiding.py')
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 200


def test_help_of_the_command_line_imports_no_torch():
    program = (
        "import sys\ntry: import motivation.__main__ as m; m.main(['--help'])\nfinally: print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, '-c', program],
        capture_output=True, text=True, check=True, env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )  # fmt: skip
    assert done.stdout.endswith('False\n') and 'compare' in done.stdout


def test_lock_of_windows_is_of_a_byte_behind_the_text_and_leaves_the_position(monkeypatch):
    locked = []

    def locking(descriptor, kind, count):
        locked.append((os.lseek(descriptor, 0, os.SEEK_CUR), kind, count))
        if len(locked) > 1:
            raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(portable, 'fcntl', None)
    monkeypatch.setattr(portable, 'msvcrt', types.SimpleNamespace(locking=locking, LK_NBLCK=2), raising=False)
    with Path('lock').open('a+') as file:
        file.write('process 1')
        portable.lock_file(file)
        assert locked == [(2**30, 2, 1)] and file.tell() == len('process 1')
        with pytest.raises(BlockingIOError):
            portable.lock_file(file)
    assert Path('lock').read_text() == 'process 1'
