"""The runs of a comparison at MLflow and Weights & Biases."""

import hashlib
import json
import os
from collections.abc import Callable
from operator import methodcaller
from pathlib import Path
from typing import Any

from mmengine.config import Config

from motivation.comparison.output.tables import OF_ARM, OF_RUN, run_rows
from motivation.engine.loggers.mlflow_backend import MLflowVisBackend
from motivation.engine.loggers.tracker import Tracker, described
from motivation.engine.loggers.wandb_backend import WandbVisBackend
from motivation.errors import ConfigError
from motivation.utils.files import write_whole

# What is known of a run before it trains; the rest are its results.
_GIVEN = (*OF_ARM, 'seed', 'folder', 'policy', 'epochs')

# In the folder of a run: its identifiers, and what was sent last.
_FOLDER = 'tracked'


class RunTracker:
    """One tracker, to which each finished run of a comparison is written as one run of its own.

    Where it is, is said by the backend of its class in the config's ``visualizer.vis_backends``, if there is one, else by
    the environment variables of the tracker.

    Args:
        name: ``'mlflow'`` or ``'wandb'``.
        config: Config that the arms share.
        work_dir: Folder of the comparison, whose name is that of the experiment of MLflow or the group of Weights & Biases.

    Raises:
        ConfigError: Its package is missing, nobody is logged in, or the server of MLflow cannot be reached.
    """

    def __init__(self, name: str, config: Config, work_dir: Path) -> None:
        self._name, self._work_dir = name, work_dir.resolve()
        backends = (config.get('visualizer') or {}).get('vis_backends') or []
        kind = _BACKENDS[name][0].__name__
        self._own: dict[str, Any] = next((backend for backend in backends if backend.get('type') == kind), {})
        try:
            self._check()
        except ConfigError as error:
            problem = str(error).replace(f'visualizer.vis_backends has {kind}', f'--track has {name}')
            raise ConfigError(
                problem.replace("write init_kwargs=dict(mode='offline')", 'set WANDB_MODE=offline')
            ) from error

    def _check(self) -> None:
        backend = _BACKENDS[self._name][1](self, {}, self._work_dir / _FOLDER)
        if isinstance(backend, MLflowVisBackend) and backend.tracking_uri.startswith('http'):
            try:
                backend.find_experiment()
            except Exception as error:  # clients raise errors of many types
                raise ConfigError(
                    f"--track has mlflow, whose server '{backend.tracking_uri}' cannot be reached ({described(error)}); start "
                    'it, correct MLFLOW_TRACKING_URI, or leave mlflow out'
                ) from error

    def write(self, comparison: dict[str, Any]) -> str:
        """Write the finished runs that are new or have other numbers than when they were last written.

        A run that the tracker has is updated. After a failure no more runs are written.

        Args:
            comparison: Data of the comparison.

        Returns:
            What went wrong, in a sentence; ``''`` if nothing did.
        """
        for row in run_rows(comparison):
            problem = self._write_run(row) if row['status'] == 'finished' else ''
            if problem:
                return (
                    f'--track {self._name}: {problem}, at the run of {row["arm"]!r} with seed {row["seed"]}; the files are '
                    'complete, and the same command goes on with the runs that the tracker lacks'
                )
        return ''

    def _write_run(self, row: dict[str, Any]) -> str:
        backend = _BACKENDS[self._name][1](self, row, Path(row['folder']) / _FOLDER)
        place = Path(backend._save_dir)
        sent = place / 'sent.json'
        content = json.dumps({'mode': os.environ.get('WANDB_MODE'), **row})
        if sent.is_file() and sent.read_text() == content:
            return ''
        given = {name: row[name] for name in _GIVEN if row[name] is not None}
        backend.add_config(Config({**given, 'comparison': str(self._work_dir)}, format_python_code=False))
        problems: list[str] = []
        try:
            backend.open(problems.append)
        except ConfigError as error:
            return described(error.__cause__ or error)
        backend.add_summary({name: row[name] for name in ('metric', *OF_RUN) if row[name] not in (None, '')})
        backend.close()
        if problems:
            return problems[0].partition(' and gets no more')[0]
        write_whole(sent, methodcaller('write', content.encode()))
        return ''

    def _mlflow(self, row: dict[str, Any], folder: Path) -> Tracker:
        uri = self._own.get('tracking_uri') or os.environ.get('MLFLOW_TRACKING_URI')
        uri = uri or (self._work_dir / 'mlruns').as_uri()
        return MLflowVisBackend(
            _of_destination(folder, 'mlflow', uri, self._work_dir.name),
            exp_name=self._work_dir.name,
            run_name=_title(row),
            tags={name: str(row[name]) for name in ('arm', 'kind', 'seed') if name in row},
            tracking_uri=uri,
        )

    def _wandb(self, row: dict[str, Any], folder: Path) -> Tracker:
        own = self._own.get('init_kwargs') or {}
        names = ('project', 'entity', 'mode')
        known = {name: str(own.get(name) or os.environ.get(f'WANDB_{name.upper()}') or '') for name in names}
        where = {name: value for name, value in known.items() if value}
        server = os.environ.get('WANDB_BASE_URL', '')
        return WandbVisBackend(
            _of_destination(folder, 'wandb', server, known['entity'], known['project']),
            init_kwargs={
                **where,
                'group': self._work_dir.name,
                'name': _title(row),
                'job_type': 'comparison',
                'dir': str(self._work_dir),
                'settings': {'silent': True},
            },
        )


_BACKENDS: dict[str, tuple[type[Tracker], Callable[[RunTracker, dict[str, Any], Path], Any]]] = {
    'mlflow': (MLflowVisBackend, RunTracker._mlflow),
    'wandb': (WandbVisBackend, RunTracker._wandb),
}


def _of_destination(folder: Path, name: str, *destination: str) -> str:
    """Return the folder of a tracker at one destination: another one has another run."""
    return str(folder / f'{name}-{hashlib.sha256(repr(destination).encode()).hexdigest()[:8]}')


def _title(row: dict[str, Any]) -> str:
    return f'{row["arm"]}, seed {row["seed"]}' if row else ''
