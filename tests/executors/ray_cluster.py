"""A Ray cluster of several nodes on this machine, and ways to break it."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# The least that Ray accepts.
NODE = dict(num_cpus=1, object_store_memory=80 * 2**20, include_dashboard=False)


@contextmanager
def ray_cluster() -> Iterator[Any]:
    """Start a cluster of two nodes with a CPU each, and stop it at the end."""
    # Workers with the priority of the tests, not the lower one that Ray gives them.
    os.environ.update(RAY_USAGE_STATS_ENABLED='0', RAY_worker_niceness='0')
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=dict(NODE, include_log_monitor=False))
    try:
        cluster.add_node(**NODE)
        yield cluster
    finally:
        cluster.shutdown()


def wait_until(condition: Callable[[], Any], seconds: float = 300) -> Any:
    """Wait until a condition is true, and return its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError('it did not happen')


def process_of(folder: Path) -> int:
    """Return the process that has locked the folder of a run."""
    return int((folder / '.lock').read_text().split()[1])


def parent_of(process: int) -> int:
    """Return the parent of a process, which is the Ray worker of a run."""
    return int(Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[1])


def is_alive(process: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        return Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


def kill_worker(folder: Path) -> None:
    """Kill the Ray worker of a run, and wait for the end of the run's process."""
    process = process_of(folder)
    os.kill(parent_of(process), signal.SIGKILL)
    wait_until(lambda: not is_alive(process))
