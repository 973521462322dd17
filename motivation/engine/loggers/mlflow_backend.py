"""Logging to MLflow."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.visualization.vis_backend import BaseVisBackend

from motivation.config.nodes import nodes
from motivation.engine.loggers.tracker import Tracker, require_package
from motivation.errors import one_line
from motivation.registry import VISBACKENDS
from motivation.utils.arguments import checked

# Entries that are written together: MLflow's limit is 1,000, and each request of its own would take milliseconds.
_AT_ONCE = 900

# Characters of a parameter that every version and store of MLflow takes; parameters of one request.
_PARAMETER, _PARAMETERS = 500, 100

# Seconds that a request waits for the server, and how often it is repeated: before training, where the user waits for the
# answer, and later, where a server may be restarted. MLflow's own 120 seconds and 7 repetitions are minutes of standstill.
_FIRST_CONTACT = {'MLFLOW_HTTP_REQUEST_TIMEOUT': '5', 'MLFLOW_HTTP_REQUEST_MAX_RETRIES': '1'}
_LATER = {'MLFLOW_HTTP_REQUEST_TIMEOUT': '15', 'MLFLOW_HTTP_REQUEST_MAX_RETRIES': '2'}
_FILES = {'MLFLOW_HTTP_REQUEST_MAX_RETRIES': '2'}  # a server may take long to store one


@contextmanager
def _patience(settings: Mapping[str, str]) -> Iterator[None]:
    """Have MLflow use these settings within the context where the environment has none of its own."""
    given = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(given)
    try:
        yield
    finally:
        for name in given:
            os.environ.pop(name, None)


@VISBACKENDS.register_module()
class MLflowVisBackend(Tracker, BaseVisBackend):
    """Logs a training to MLflow: a store of files, or a tracking server; a resumed training continues its run.

    MMEngine's backend of this name begins another run after a resume, waits for the store after every batch, and ends the
    training when the store fails. Entries are written at every checkpoint, at the end, and when there are many.

    Args:
        save_dir: Folder of the id of the run and, without a tracking URI, of MLflow's files. In a config, the log folder of
            the run by default.
        exp_name: Name of the experiment. Default: ``'motivation'``.
        run_name: Name of the run. Default: that of the work_dir's folder.
        tags: Tags of the run. Default: none.
        tracking_uri: ``'file:///...'`` or the address of a server. Default: the environment's ``MLFLOW_TRACKING_URI``, or
            the folder ``mlruns`` in ``save_dir``.
        files: Names of files in the work_dir that are uploaded at the end. Default: none.

    Attributes:
        tracking_uri: Where the runs are.

    Raises:
        ConfigError: MLflow is not installed.

    Example:
        >>> vis_backends = [dict(type='MLflowVisBackend', tracking_uri='http://localhost:5000', exp_name='flowers')]
    """

    @checked
    def __init__(
        self,
        save_dir: str,
        exp_name: str = 'motivation',
        run_name: str | None = None,
        tags: dict[str, Any] | None = None,
        tracking_uri: str | None = None,
        files: Sequence[str] = (),
    ) -> None:
        super().__init__(save_dir)
        self.files = files
        self._exp_name, self._run_name, self._tags = exp_name, run_name, tags or {}
        own = (Path(save_dir).resolve() / 'mlruns').as_uri()
        self.tracking_uri = tracking_uri or os.environ.get('MLFLOW_TRACKING_URI') or own
        if self.tracking_uri.startswith('file:'):
            os.environ.setdefault(
                'MLFLOW_ALLOW_FILE_STORE', 'true'
            )  # without it, MLflow 3.17 refuses its own file store
        try:
            import mlflow  # takes seconds, and few runs need it
        except ImportError as error:
            raise require_package(type(self).__name__, error, 'mlflow-skinny') from error
        self._mlflow: Any = mlflow
        self._client: Any = None
        self._id = ''
        self._entries: list[Any] = []
        # The last step of each curve before a resume, which trains on the batches after its checkpoint once more.
        self._logged: dict[str, int] = {}

    def _init_env(self) -> None:
        """Do nothing: :meth:`open` begins the run."""

    @property
    def experiment(self) -> Any:
        """The client of MLflow; ``None`` before training."""
        return self._client

    def _way_out(self) -> str:
        return f"start the server or correct tracking_uri, which is '{self.tracking_uri}'"

    def find_experiment(self) -> Any:
        """Return the experiment, or ``None`` if there is none yet; raises what MLflow raises if it cannot be reached."""
        self._client = self._mlflow.MlflowClient(self.tracking_uri)
        with _patience(_FIRST_CONTACT):
            return self._client.get_experiment_by_name(self._exp_name)

    def _begin(self, identifier: str | None, config: dict[str, Any], text: str) -> str:
        experiment = self.find_experiment()
        with _patience(_LATER):
            return self._begin_at(experiment, identifier, config, text)

    def _begin_at(self, experiment: Any, identifier: str | None, config: dict[str, Any], text: str) -> str:
        client = self._client
        if identifier is not None:
            self._id = identifier
            client.update_run(identifier, status='RUNNING')
            for name in client.get_run(identifier).data.metrics:
                self._logged[name] = max(entry.step for entry in client.get_metric_history(identifier, name))
        else:
            place = client.create_experiment(self._exp_name) if experiment is None else experiment.experiment_id
            # Left out, MLflow draws one from the random state of the run, so that runs of one seed have one name.
            name = self._run_name or Path(config.get('work_dir') or self._save_dir).resolve().name
            self._id = client.create_run(place, run_name=name, tags=self._tags).info.run_id
            self._log_parameters(config)
        client.log_text(self._id, text, 'config.py')
        return self._id

    def _log_parameters(self, config: dict[str, Any]) -> None:
        leaves = [(name, value) for name, value in nodes(config) if not isinstance(value, (dict, list, tuple))]
        parameters = [self._mlflow.entities.Param(name, one_line(str(value), _PARAMETER)) for name, value in leaves]
        for begin in range(0, len(parameters), _PARAMETERS):
            self._client.log_batch(self._id, params=parameters[begin : begin + _PARAMETERS])

    def _log(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        # A store of files cannot hold 'motivated' beside 'motivated/accuracy/top1'.
        named = {name if '/' in name else f'train/{name}': value for name, value in values.items()}
        self._entries += [
            self._mlflow.entities.Metric(name, value, now, step)
            for name, value in named.items()
            if step > self._logged.get(name, -1)
        ]
        if len(self._entries) > _AT_ONCE - len(values):
            self._write()

    def _write(self) -> None:
        with _patience(_LATER):
            for begin in range(0, len(self._entries), _AT_ONCE):
                self._client.log_batch(self._id, metrics=self._entries[begin : begin + _AT_ONCE])
        self._entries = []

    def flush(self) -> None:
        self._try(self._write)

    def _log_image(self, name: str, image: np.ndarray, step: int) -> None:
        with _patience(_FILES):
            self._client.log_image(self._id, image, artifact_file=f'images/{name}_{step}.png')

    def _summarize(self, values: Mapping[str, Any]) -> None:
        self._logged = {}
        self._log({f'report/{name}': value for name, value in values.items() if not isinstance(value, str)}, 0)
        with _patience(_LATER):
            for name, value in values.items():
                if isinstance(value, str):
                    self._client.set_tag(self._id, f'report.{name.replace("/", ".")}', value)

    def _upload(self, path: Path) -> None:
        with _patience(_FILES):
            self._client.log_artifact(self._id, str(path))

    def _end(self, status: str) -> None:
        self._write()
        with _patience(_LATER):
            self._client.set_terminated(self._id, status)
