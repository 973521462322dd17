"""What the backends of experiment trackers have in common."""

import atexit
import operator
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.visualization import Visualizer

from motivation.errors import ConfigError, one_line
from motivation.utils.files import write_whole
from motivation.utils.random_state import preserved_random_state


class Tracker(ABC):
    """Mixin of MMEngine's backends for a tracker: one run that a resumed training continues, and that may fail.

    Nothing is written before :meth:`open`, which a training calls when everything is checked; so ``--check`` and
    evaluations leave no run behind. The id of the run is kept in the log folder, where a resumed training finds it. A
    tracker that fails later gets no more entries, which is announced, and the training goes on.

    Attributes:
        files: Names of files in the work_dir that are uploaded at the end.
    """

    files: Sequence[str]
    _save_dir: str
    _config: Config | None = None
    _announce: Callable[[str], None]
    _is_open = False

    @abstractmethod
    def _begin(self, identifier: str | None, config: dict[str, Any], text: str) -> str:
        """Begin a run, or continue that of an identifier, and return its identifier."""

    @abstractmethod
    def _log(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers of a step."""

    @abstractmethod
    def _log_image(self, name: str, image: np.ndarray, step: int) -> None:
        """Write an image, (H, W, 3), uint8."""

    @abstractmethod
    def _summarize(self, values: Mapping[str, Any]) -> None:
        """Write the results of the run."""

    @abstractmethod
    def _upload(self, path: Path) -> None:
        """Upload a file of the work_dir."""

    @abstractmethod
    def _end(self, status: str) -> None:
        """End the run; ``status`` is ``'FINISHED'`` or ``'KILLED'``."""

    @property
    def _label(self) -> str:
        return type(self).__name__

    def open(self, announce: Callable[[str], None]) -> None:
        """Begin the run, or continue it.

        Args:
            announce: Called with a sentence if the tracker fails later.

        Raises:
            ConfigError: The service cannot be reached, or refuses.
        """
        self._announce = announce
        path = Path(self._save_dir) / f'{self._label}.id'
        known = path.read_text() if path.is_file() else None
        config = {} if self._config is None else self._config.to_dict()
        try:
            with preserved_random_state():
                identifier = self._begin(known, config, '' if self._config is None else self._config.pretty_text)
        except Exception as error:  # services raise errors of many types
            raise ConfigError(
                f'visualizer.vis_backends has {self._label}, which cannot begin a run ({described(error)}); {self._way_out()}, '
                'or leave it out'
            ) from error
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, operator.methodcaller('write', identifier.encode()))
        self._is_open = True
        atexit.register(self._abandon)

    def _way_out(self) -> str:
        return 'make it reachable'

    def add_config(self, config: Config, **_: Any) -> None:
        """Keep the config, which is written when the run begins."""
        self._config = config

    def add_scalar(self, name: str, value: Any, step: int = 0, **_: Any) -> None:
        """Write a number of a step."""
        self.add_scalars({name: value}, step)

    def add_scalars(
        self, scalar_dict: Mapping[str, Any], step: int = 0, file_path: str | None = None, **_: Any
    ) -> None:
        """Write numbers of a step; what is no number is left out."""
        values = {
            name: float(value) for name, value in scalar_dict.items() if np.ndim(value) == 0 and _is_number(value)
        }
        self._try(partial(self._log, values, int(step)))

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **_: Any) -> None:
        """Write an image, (H, W, 3), uint8."""
        self._try(partial(self._log_image, name, image, int(step)))

    def add_summary(self, values: Mapping[str, Any]) -> None:
        """Write the results of the run, numbers and strings by name."""
        self._try(partial(self._summarize, values))

    def close(self) -> None:
        """Upload the files, and end the run."""
        for name in self.files:
            path = Path(self._config.work_dir if self._config is not None else '.') / name
            if self._is_open and not path.is_file():
                self._announce(f"{self._label} uploads no '{name}', which does not exist in '{path.parent}'")
            else:
                self._try(partial(self._upload, path))
        self._try(partial(self._end, 'FINISHED'))
        self._is_open = False
        atexit.unregister(self._abandon)

    def _abandon(self) -> None:
        """End the run of a training that stopped."""
        self._try(partial(self._end, 'KILLED'))
        self._is_open = False

    def _try(self, write: Callable[[], None]) -> None:
        if not self._is_open:
            return
        try:
            with preserved_random_state():  # services draw names and the lengths of waits
                write()
        except Exception as error:  # a tracker must not end a training
            self._is_open = False
            self._announce(
                f'{self._label} fails ({described(error)}) and gets no more entries; the run and its other logs go on'
            )


def described(error: BaseException) -> str:
    """Return an error of a service with its type, in a line of at most 200 characters."""
    return one_line(f'{type(error).__name__}: {error}', 200)


def _is_number(value: Any) -> bool:
    return not isinstance(value, str) and value is not None


def new_identifier() -> str:
    """Return a new identifier of a run."""
    return uuid.uuid4().hex[:8]


def require_package(label: str, error: ImportError, package: str) -> ConfigError:
    """Return the error about a package that a backend needs and that cannot be imported."""
    return ConfigError(
        f"visualizer.vis_backends has {label}, and {package} cannot be imported ({error}): run 'pip install {package}', or "
        'leave it out'
    )


def trackers_of(visualizer: Visualizer) -> list[Tracker]:
    """Return the trackers among the backends of a visualizer."""
    return [backend for backend in visualizer._vis_backends.values() if isinstance(backend, Tracker)]


def open_trackers(runner: Any) -> None:
    """Open the trackers of a training in its first process, just before its first batch.

    Raises:
        ConfigError: One cannot be opened.
    """
    if runner.rank == 0 and not getattr(runner.train_loop, 'is_trial', False):
        with runner.interruption.at_once():  # a server that does not answer
            for tracker in trackers_of(runner.visualizer):
                tracker.open(runner.announce)


def summarize(visualizer: Visualizer, report: Mapping[str, Any]) -> None:
    """Write the numbers and strings of a report to the trackers, with names such as ``'base/metrics/accuracy/top1'``."""
    for tracker in trackers_of(visualizer):
        tracker.add_summary(_flat(report))


def _flat(node: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in node.items():
        if isinstance(value, Mapping):
            values |= _flat(value, f'{prefix}{name}/')
        elif isinstance(value, (int, float, str)) and not isinstance(value, bool):
            values[f'{prefix}{name}'] = value
    return values
