"""An executor whose runs are tasks of a Ray cluster."""

import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt

import motivation
from motivation.errors import ArgumentError, ConfigError, one_line
from motivation.executors import ray_files, ray_task
from motivation.executors.executor import Executor, Outcome, Run, RunRequest
from motivation.registry import EXECUTORS
from motivation.utils.arguments import Written, checked

_PACKAGE = Path(motivation.__file__).parent

# Resources that are named first.
_ORDER = {'CPU': 0, 'GPU': 1, 'memory': 2}

# Bytes of shared memory for the objects of a cluster that the executor starts; files pass through it in small parts.
_OBJECT_STORE = 200 * 10**6

# Variables that change the last bits of results, or how runs share processors.
_FORWARDED = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'CUBLAS_WORKSPACE_CONFIG')

# Seconds within which a cluster must answer, and a node must have started a process.
_SECONDS, _PATIENCE = 20, 300

# Seconds after which a run that has not ended is cancelled again.
_AGAIN = 5.0


@EXECUTORS.register_module(name='ray')
class RayExecutor(Executor):
    """Execute runs as tasks of a Ray cluster, which queues them until a node has what they ask for.

    A run whose worker process or node dies is started again, on any node, and resumes from its newest whole
    checkpoint. Where a node does not see the folder of a run, its files travel through Ray, see
    :mod:`motivation.executors.ray_files`. The runs end with the process that submitted them.

    Args:
        address: ``'auto'``, ``'HOST:PORT'`` or ``'ray://HOST:PORT'`` of a cluster; ``None`` (default) for the one that
            the environment variable ``RAY_ADDRESS`` names or, without it, one of this machine for the time of the
            comparison.
        cpus: CPUs of each run, above 0, and its number of threads unless ``OMP_NUM_THREADS`` is set. Default: 1.
        gpus: GPUs of each run, at least 0; 0.5 lets two runs share one, and 0 hides them from the runs. ``None``
            (default) is 0, and refused by a cluster that has GPUs.
        memory: Main memory of each run in GB, by which Ray counts what fits on a node, without enforcing it; ``None``
            (default) for none.
        resources: Custom resources of each run by name; ``None`` (default) for none.
        retries: How often a run is started again after its worker or node has died, at least 0. Default: 3.
        directory: Folder of the nodes to which the relative paths of runs and configs refer there; ``None`` (default)
            for the current folder, which then exists on every node.

    Raises:
        ArgumentError: ``gpus`` is a fraction above 1.

    Example:
        >>> executor = 'ray:address=auto,gpus=0.5,memory=4'
    """

    @checked
    def __init__(
        self,
        address: str | None = None,
        cpus: Annotated[float, Gt(0)] = 1,
        gpus: Annotated[float, Ge(0)] | None = None,
        memory: Annotated[float, Gt(0)] | None = None,
        resources: Annotated[Mapping[str, float], Written("{'ssd': 1}")] | None = None,
        retries: Annotated[int, Ge(0)] = 3,
        directory: str | None = None,
    ) -> None:
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ArgumentError('gpus', f'must be a whole number or at most 1, got {gpus}')
        self.address = address or os.environ.get('RAY_ADDRESS') or 'local'
        self.gpus = gpus
        self.wanted = {'CPU': cpus, 'GPU': gpus or 0, 'memory': int((memory or 0) * 1e9), **(resources or {})}
        self.retries = retries
        self.directory = str(Path(directory or '').absolute())
        self.token = uuid.uuid4().hex
        self._ray: Any = None

    def environment(self) -> dict[str, str]:
        """Return the number of threads of a run, see :class:`Executor`."""
        return {} if 'OMP_NUM_THREADS' in os.environ else {'OMP_NUM_THREADS': str(max(int(self.wanted['CPU']), 1))}

    def open(self, script: Path, environment: Mapping[str, str], folder: Path) -> None:
        """Connect to the cluster, or start one, and check its nodes, see :class:`Executor`."""
        self.script = script.resolve()
        if self.script.is_relative_to(_PACKAGE):  # a node may have the package in another folder
            self.script = self.script.relative_to(_PACKAGE)
        self._environment = {
            **{name: os.environ[name] for name in _FORWARDED if name in os.environ},
            **environment,
            **({} if self.gpus else {'CUDA_VISIBLE_DEVICES': ''}),
        }
        self._ray = _import_ray()
        with _own_signal_handler():
            self._connect()
        try:
            self._check_nodes(self._fitting_nodes())
            self._keeper = self._start_keeper()
        except BaseException:
            self.close()
            raise
        self._task = self._ray.remote(ray_task.execute)

    def _connect(self) -> None:
        own: dict[str, Any] = {}
        if self.address == 'local':
            os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
            os.environ.setdefault('RAY_worker_niceness', '0')  # Ray's 15 would starve the runs beside other work
            own = dict(include_dashboard=False, object_store_memory=_OBJECT_STORE)
        host, _, port = self.address.rpartition('://')[2].rpartition(':')
        try:
            if port.isdigit():  # Ray would try for many minutes
                socket.create_connection((host, int(port)), timeout=_SECONDS).close()
            self._ray.init(self.address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except Exception as error:  # Ray raises errors of many types
            raise ArgumentError(
                'address',
                f"{self.address!r} cannot be reached ({one_line(str(error), 200)}); start a cluster with 'ray start "
                "--head', or name another",
            ) from error
        for module in (ray_task, ray_files):
            self._ray.cloudpickle.register_pickle_by_value(module)

    def _fitting_nodes(self) -> list[dict[str, Any]]:
        """Return the nodes that have what a run asks for."""
        nodes = [node for node in self._ray.nodes() if node['Alive']]
        if self.gpus is None and any(node['Resources'].get('GPU') for node in nodes):
            raise ArgumentError(
                'gpus',
                'is not given, and the Ray cluster has GPUs; give gpus=1, gpus=0.5 for two runs a GPU, or gpus=0',
            )
        fitting = [
            node
            for node in nodes
            if all(node['Resources'].get(name, 0) >= amount for name, amount in self.wanted.items())
        ]
        if not fitting:
            raise ConfigError(
                f'a run asks for {_described(self.wanted)}, which no node of the Ray cluster has; its nodes have '
                f'{"; ".join(sorted({_described(node["Resources"]) for node in nodes}))}'
            )
        return fitting

    def _check_nodes(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        task = self._ray.remote(ray_task.find_problem)
        checks = {
            task.options(num_cpus=0, **self._on(node['NodeID'])).remote(
                self.directory, self._environment, motivation.__version__
            ): node['NodeManagerHostname']
            for node in nodes
        }
        for check, name in checks.items():
            try:
                problem = self._ray.get(check, timeout=_PATIENCE)
            except self._ray.exceptions.RayError as error:
                problem = f'cannot start a process ({one_line(str(error), 200)})'
            if problem:
                raise ConfigError(f'node {name!r} of the Ray cluster {problem}')

    def _start_keeper(self) -> Any:
        """Start the process of this machine that reads and writes files for nodes that do not see them."""
        if self.address == 'local' or '://' in self.address:  # through Ray Client, this machine is no node
            return None
        keeper = self._ray.remote(ray_files.Keeper)
        here = self._on(self._ray.get_runtime_context().get_node_id())
        return keeper.options(num_cpus=0, **here).remote(str(Path.cwd()), str(_PACKAGE.parent))

    def _on(self, node: str) -> dict[str, Any]:
        """Return the options of a task that is executed on a node."""
        # Imported here because Ray is an optional package.
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return {'scheduling_strategy': NodeAffinitySchedulingStrategy(node, soft=False)}

    def submit(self, requests: Sequence[RunRequest]) -> list[Run]:
        """Queue runs, see :class:`Executor`."""
        return [self._submit(request) for request in requests]

    def _submit(self, request: RunRequest) -> Run:
        ray_files.token_file(request.folder).write_text(self.token)
        assignment = ray_task.Assignment(
            name=request.name,
            config=str(request.config),
            folder=str(request.folder),
            reads=tuple(map(str, request.reads)),
            script=str(self.script),
            directory=self.directory,
            environment=self._environment,
            token=self.token,
            origin=f'{socket.gethostname()}:{Path.cwd()}',
        )
        task = self._task.options(
            name=request.name,
            max_retries=self.retries,
            num_cpus=self.wanted['CPU'],
            num_gpus=self.wanted['GPU'],
            memory=self.wanted['memory'] or None,
            resources={name: self.wanted[name] for name in self.wanted if name not in ('CPU', 'GPU', 'memory')},
        )
        return RayRun(self._ray, task.remote(assignment, self._keeper), request.folder)

    def close(self) -> None:
        """Disconnect from the cluster, which ends what still runs; stop it if the executor has started it."""
        if self._ray is not None:
            self._ray.shutdown()


class RayRun:
    """A run that is a task of a Ray cluster.

    Args:
        ray: The package.
        task: Reference of the task.
        folder: Folder of the run.
    """

    def __init__(self, ray: Any, task: Any, folder: Path) -> None:
        self._ray = ray
        self._task = task
        self._folder = folder
        self._result: Future[tuple[int, str]] = task.future()
        self._outcome: Outcome | None = None
        self._cancelled: float | None = None

    def poll(self) -> Outcome | None:
        """Return how the run has ended, see :class:`Run`."""
        if self._cancelled is not None and time.monotonic() - self._cancelled > _AGAIN and not self._result.done():
            self.cancel()  # in case the request was lost
        if self._outcome is None and self._result.done():
            ray_files.token_file(self._folder).unlink(missing_ok=True)
            self._outcome = self._read()
        return self._outcome

    def _read(self) -> Outcome:
        try:
            return Outcome(*self._result.result())
        except self._ray.exceptions.TaskCancelledError:
            return Outcome(-signal.SIGTERM, 'it was cancelled')
        except Exception as error:  # whatever the task raised, and the reasons for which Ray gives up
            return Outcome(1, f'Ray has given it up: {one_line(str(error), 300)}')

    def cancel(self) -> None:
        """Have the run save and end, or take it out of the queue; see :class:`Run`."""
        self._cancelled = time.monotonic()
        self._ray.cancel(self._task)

    def wait(self) -> Outcome:
        """Wait for the end of the run, see :class:`Run`."""
        while (outcome := self.poll()) is None:
            wait_for([self._result], timeout=1)
        return outcome


def _import_ray() -> Any:
    try:
        # Imported here because it is an optional package, which takes a second to import.
        import ray
        import ray.cloudpickle
        import ray.exceptions
    except ImportError as error:
        raise ConfigError(
            f"the executor 'ray' needs Ray, which cannot be imported ({error}); run pip install 'motivation[ray]'"
        ) from error
    return ray


@contextmanager
def _own_signal_handler() -> Iterator[None]:
    """Keep the handler of SIGTERM, which Ray replaces."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _described(resources: Mapping[str, float]) -> str:
    """Return resources as a list, such as ``'2 CPU, 1 GPU, 4.0 GB memory'``, without those that only Ray uses."""
    parts = [
        f'{amount / 1e9:.1f} GB memory' if name == 'memory' else f'{amount:g} {name}'
        for name, amount in sorted(resources.items(), key=lambda item: _ORDER.get(item[0], len(_ORDER)))
        if amount and name != 'object_store_memory' and not name.startswith('node:')
    ]
    return ', '.join(parts) or 'nothing'
