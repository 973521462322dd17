"""Two processes that train together, as forks, which start sooner than under ``torchrun``."""

import socket

from tests.forked import run_forked


def two_forks(script, *arguments):
    """Run a script as both of two processes that find each other, and fail with what it says if it does."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    shared = {'WORLD_SIZE': '2', 'LOCAL_WORLD_SIZE': '2', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port}
    ranks = [{**shared, 'RANK': rank, 'LOCAL_RANK': rank} for rank in '01']
    for done in run_forked(script, *arguments, environments=ranks):
        assert done.returncode == 0, done.stderr
