"""Processes that train together, as forks, which start sooner than under ``torchrun``."""

import socket

from tests.forked import run_forked


def two_forks(script, *arguments):
    """Run a script as both of two processes that find each other, and fail with what it says if it does."""
    forks(1, 2, script, *arguments)


def forks(machines, on_each, script, *arguments):
    """Run a script as all processes that ``torchrun`` would start on some machines, and fail if one does."""
    processes = machines * on_each
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    shared = {
        'WORLD_SIZE': f'{processes}',
        'LOCAL_WORLD_SIZE': f'{on_each}',
        'MASTER_ADDR': '127.0.0.1',
        'MASTER_PORT': port,
    }
    ranks = [{**shared, 'RANK': f'{rank}', 'LOCAL_RANK': f'{rank % on_each}'} for rank in range(processes)]
    for done in run_forked(script, *arguments, environments=ranks):
        assert done.returncode == 0, done.stderr
