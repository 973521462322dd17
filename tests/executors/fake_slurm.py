"""The programs of Slurm, as far as submitit calls them: jobs are processes of this machine, without a queue.

``install(folder)`` makes them; in the folder, files ``<job>.pid``, ``<job>.state`` and ``<job>.code`` have the process of
a job, the state that a test gives it, and its exit status.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

PROGRAMS = ('sbatch', 'srun', 'sacct', 'scancel', 'scontrol')

# A requeued job starts again once it has ended.
LOOP = 'while :; do bash "$0"; code=$?; rm "$1.requeue" 2>/dev/null || break; done; echo $code > "$1.code"'


def install(folder):
    """Write the programs to a folder, and return it."""
    folder.mkdir()
    for name in PROGRAMS:
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -S {__file__} {folder} {name} "$@"\n')
        program.chmod(0o755)
    return folder


def sbatch(folder, script):
    """Start the jobs of a script."""
    text = Path(script).read_text()
    if 'partition=wrong' in text:
        sys.exit('sbatch: error: Batch job submission failed: Invalid partition name specified')
    with (folder / 'sbatch.txt').open('a') as file:
        file.write(text)
    number = len(list(folder.glob('*.job'))) + 1
    (folder / f'{number}.job').touch()
    array = re.search(r'--array=0-(\d+)', text)
    for index in range(int(array.group(1)) + 1) if array else [None]:
        name = str(number) if index is None else f'{number}_{index}'
        ids = {'SLURM_JOB_ID': str(number)}
        if index is not None:
            ids |= {'SLURM_ARRAY_JOB_ID': str(number), 'SLURM_ARRAY_TASK_ID': str(index)}
        subprocess.Popen(
            ['sh', '-c', LOOP, script, folder / name],
            env={**os.environ, **ids, 'FAKE_JOB': name}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    print(f'Submitted batch job {number}')


def srun(folder, *arguments):
    """Become the command of a job, whose output goes to its log."""
    log, rest = '', list(arguments)
    while rest[0].startswith('--'):
        if rest.pop(0) == '--output':
            log = rest[0]
        if not rest[0].startswith('--') and '/' in rest[0] and rest[0].endswith(('.out', '.err')):
            rest.pop(0)
    name = os.environ['FAKE_JOB']
    array, _, index = name.partition('_')
    log = log.replace('%A', array).replace('%a', index).replace('%j', name).replace('%t', '0')
    (folder / f'{name}.pid').write_text(str(os.getpid()))
    with Path(log).open('a') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.execvp(rest[0], rest)


def sacct(folder, *_):
    """Print the states of all jobs."""
    with (folder / 'sacct.txt').open('a') as file:
        file.write('called\n')
    print('JobID|State|NodeList')
    for pid in folder.glob('*.pid'):
        state, code = pid.with_suffix('.state'), pid.with_suffix('.code')
        said = state.read_text() if state.exists() else ''
        ended = ('COMPLETED' if code.read_text() == '0\n' else 'FAILED') if code.exists() else 'RUNNING'
        print(f'{pid.stem}|{said or ended}|here')


def scancel(folder, *jobs):
    """Send SIGTERM to jobs."""
    for job in jobs:
        (folder / f'{job}.state').write_text('CANCELLED by 0')
        try:
            os.kill(int((folder / f'{job}.pid').read_text()), signal.SIGTERM)
        except (FileNotFoundError, ProcessLookupError):
            print('scancel: error: invalid job', file=sys.stderr)


def scontrol(folder, what, job):
    """Requeue a job."""
    assert what == 'requeue'
    (folder / f'{job}.requeue').touch()


if __name__ == '__main__':
    globals()[sys.argv[2]](Path(sys.argv[1]), *sys.argv[3:])
