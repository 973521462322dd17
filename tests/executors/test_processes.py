"""A forked run behaves like one in a new interpreter."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from motivation.executors.processes import ForkLauncher, ProcessLauncher

SCRIPT = """
import atexit, json, multiprocessing, os, signal, sys
atexit.register(print, 'at exit')
square = lambda number: number * number
with multiprocessing.get_context('fork').Pool(1) as pool:
    workers = pool.map(abs, [-3])
print(json.dumps({
    'argv': sys.argv, 'path': sys.path[0], 'name': __name__, 'file': __file__, 'mark': os.environ['MARK'],
    'cwd': os.getcwd(), 'stdin': sys.stdin.read(), 'terminal': sys.stdout.isatty(), 'workers': workers,
    'int': signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    'term': signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, 'descriptors': len(os.listdir('/proc/self/fd')),
}))
print('said on stderr', file=sys.stderr)
if 'raise' in sys.argv:
    raise ValueError('as asked')
sys.exit(7)
"""


def fork(script, environment, preload=()):
    return ForkLauncher(script, environment, preload)


@pytest.fixture
def launcher():
    made = fork(Path('script.py'), {'MARK': 'marked'})
    yield made
    made.close()


def wait_for(text, path):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if path.is_file() and text in path.read_text():
            return
        time.sleep(0.02)
    raise AssertionError(f'{text} not in {path}')


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='forks on Linux alone')
def test_forked_run_sees_what_a_new_process_sees():
    Path('script.py').write_text(SCRIPT)
    seen = {}
    for kind in (ProcessLauncher, fork):
        launcher = kind(Path('script.py').resolve(), {'MARK': 'marked'})
        assert launcher.start(['a', '--b', 'c d'], Path('out.txt')).wait() == 7
        launcher.close()
        lines = Path('out.txt').read_text().splitlines()
        seen[kind] = json.loads(next(line for line in lines if line[0] == '{'))
        assert 'said on stderr' in lines and 'at exit' in lines
        Path('out.txt').unlink()
    assert seen[ProcessLauncher] == seen[fork]
    assert seen[fork]['argv'][1:] == ['a', '--b', 'c d'] and seen[fork]['mark'] == 'marked'


def test_output_is_appended_and_a_traceback_ends_it(launcher):
    Path('script.py').write_text(SCRIPT)
    Path('out.txt').write_text('before\n')
    assert launcher.start(['raise'], Path('out.txt')).wait() == 1
    lines = Path('out.txt').read_text().splitlines()
    assert lines[0] == 'before' and 'ValueError: as asked' in lines


def test_runs_are_concurrent_and_terminated_separately(launcher):
    Path('script.py').write_text('import time; print("begun", flush=True); time.sleep(60)')
    runs = [launcher.start([], Path(f'out{number}.txt')) for number in range(3)]
    for number in range(3):
        wait_for('begun', Path(f'out{number}.txt'))
    assert [run.poll() for run in runs] == [None] * 3
    runs[1].terminate()
    assert runs[1].wait() == -signal.SIGTERM and runs[0].poll() is None
    os.kill(runs[2].pid, signal.SIGKILL)
    assert runs[2].wait() == -signal.SIGKILL and runs[0].poll() is None
    runs[0].terminate()
    runs[0].wait()


def test_killed_server_leaves_no_run_behind(launcher):
    Path('script.py').write_text('import time; print("begun", flush=True); time.sleep(60)')
    run = launcher.start([], Path('out.txt'))
    wait_for('begun', Path('out.txt'))
    assert run.poll() is None
    os.kill(launcher._server.pid, signal.SIGKILL)
    assert run.wait() == 1
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        state = Path(f'/proc/{run.pid}/stat')
        if not state.exists() or state.read_text().split()[2] == 'Z':
            break
        time.sleep(0.02)
    else:
        raise AssertionError('it goes on')


def test_modules_are_imported_once_for_all_runs():
    Path('slow.py').write_text('from pathlib import Path\nwith Path("imports.txt").open("a") as file: file.write("x")')
    Path('script.py').write_text('import slow')
    launcher = fork(Path('script.py'), {'PYTHONPATH': os.pathsep.join(['.', *sys.path])}, preload=['slow', 'no_such'])
    assert [launcher.start([], Path('out.txt')).wait() for _ in range(3)] == [0, 0, 0]
    launcher.close()
    assert Path('imports.txt').read_text() == 'x'
