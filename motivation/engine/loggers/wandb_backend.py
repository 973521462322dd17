"""Logging to Weights & Biases."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from mmengine.visualization.vis_backend import BaseVisBackend

from motivation.engine.loggers.tracker import Tracker, new_identifier, require_package
from motivation.errors import ArgumentError, ConfigError, near_matches, reason, shortened
from motivation.registry import VISBACKENDS
from motivation.utils.arguments import Written, check_nested, checked

# Seconds that the first contact with the server may take; wandb's own 90 are long for somebody who waits for an answer.
_FIRST_CONTACT = 15

# The x axis of every curve: wandb's own steps cannot go back to those of a checkpoint.
_AXIS = 'batch'


@VISBACKENDS.register_module()
class WandbVisBackend(Tracker, BaseVisBackend):
    """Logs a training to Weights & Biases, offline or online; a resumed training continues its run.

    MMEngine's backend of this name ignores the numbers of the steps, begins another run after a resume, and ends the
    training when the service fails.

    Args:
        save_dir: Folder of wandb's files. In a config, the log folder of the run by default.
        init_kwargs: Arguments of :func:`wandb.init`, such as ``project`` (default ``'motivation'``), ``name``, ``tags`` and
            ``mode='offline'``.
        files: Names of files in the work_dir that are uploaded at the end, such as ``['report.md', 'base.pth']``.
            Default: none.

    Raises:
        ConfigError: wandb is not installed, nobody is logged in, or :func:`wandb.init` has no such argument or value.

    Example:
        >>> vis_backends = [dict(type='WandbVisBackend', init_kwargs=dict(project='flowers', mode='offline'))]
    """

    @checked
    def __init__(
        self,
        save_dir: str,
        init_kwargs: Annotated[dict[str, Any], Written("dict(project='flowers')")] | None = None,
        files: Sequence[str] = (),
    ) -> None:
        super().__init__(save_dir)
        self.files = files
        self._init_kwargs = {'project': 'motivation', **(init_kwargs or {})}
        try:
            import wandb  # takes seconds, and few runs need it
        except ImportError as error:
            raise require_package(type(self).__name__, error, 'wandb') from error
        self._wandb: Any = wandb
        self._run: Any = None
        check_nested(wandb.init, 'init_kwargs', self._init_kwargs, 'wandb.init')
        self._check_settings()
        if self._is_online() and not wandb.api.api_key:
            raise ConfigError(
                f"visualizer.vis_backends has {type(self).__name__}, and nobody is logged in to wandb: run 'wandb login', write "
                "init_kwargs=dict(mode='offline'), or leave it out"
            )

    def _check_settings(self) -> None:
        settings, known = self._init_kwargs.get('settings'), self._wandb.Settings
        if not isinstance(settings, Mapping):
            return
        for name in settings.keys() - known.model_fields.keys():
            near = near_matches(str(name), known.model_fields)
            raise ArgumentError(f'init_kwargs.settings.{name}', f'is not a setting of wandb; {near}')
        try:
            known(**settings)
        except ValueError as error:
            raise ArgumentError(
                'init_kwargs.settings', f'is {shortened(settings)}, which wandb refuses: {reason(error)}; correct it'
            ) from error

    def _init_env(self) -> None:
        """Do nothing: :meth:`open` begins the run."""

    @property
    def experiment(self) -> Any:
        """The run of wandb; ``None`` before training."""
        return self._run

    def _way_out(self) -> str:
        if not self._is_online():
            return 'correct init_kwargs'
        return "check the connection, project and entity, write init_kwargs=dict(mode='offline')"

    def _is_online(self) -> bool:
        return (self._init_kwargs.get('mode') or os.environ.get('WANDB_MODE') or 'online') == 'online'

    def _begin(self, identifier: str | None, config: dict[str, Any], text: str) -> str:
        Path(self._save_dir).mkdir(parents=True, exist_ok=True)
        identifier = self._init_kwargs.get('id') or identifier or new_identifier()
        arguments = {'dir': self._save_dir, 'resume': 'allow', **self._init_kwargs}
        settings = arguments.get('settings') or {}
        if isinstance(settings, Mapping):
            # Its capture of the terminal would take the live display apart; a symbolic link to an uploaded file would be
            # empty where an offline run is copied to and synchronised.
            patience = {} if 'WANDB_INIT_TIMEOUT' in os.environ else {'init_timeout': _FIRST_CONTACT}
            settings = self._wandb.Settings(**{'console': 'off', 'symlink': False, **patience, **settings})
        self._run = self._wandb.init(**{**arguments, 'settings': settings, 'id': identifier})
        self._run.config.update(config, allow_val_change=True)
        self._run.define_metric(_AXIS, hidden=True)
        self._run.define_metric('*', step_metric=_AXIS)
        return str(identifier)

    def _log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log({**values, _AXIS: step})

    def _log_image(self, name: str, image: np.ndarray, step: int) -> None:
        self._run.log({name: self._wandb.Image(image), _AXIS: step})

    def _summarize(self, values: Mapping[str, Any]) -> None:
        self._run.summary.update({f'report/{name}': value for name, value in values.items()})

    def _upload(self, path: Path) -> None:
        self._run.save(str(path), base_path=str(path.parent), policy='now')

    def _end(self, status: str) -> None:
        self._run.finish(exit_code=0 if status == 'FINISHED' else 1)
