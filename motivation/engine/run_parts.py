"""Writing the checkpoint of a run: MMEngine's parts with their states, and the description of the run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mmengine
from mmengine.logging import MessageHub

from motivation.config.same_run import describe_hooks, describe_run_config
from motivation.datasets import stream_of
from motivation.engine.checkpointer import FORMAT
from motivation.models.pretraining import LoadedRun, Pretraining
from motivation.utils.checkpoint import from_plain, write_checkpoint
from motivation.utils.logs import flush_logs


def register_parts(runner: Any) -> None:
    """Register the parts of a completely built run, apart from its hooks, with its checkpointer."""
    register = runner.checkpointer.register
    register('state_dict', runner.model)
    if runner.model.averages is not None:
        register('ema', runner.model.averages)
    register('train_loop', runner.train_loop)
    stream = stream_of(runner.train_dataloader.dataset)
    if stream is not None:
        register('stream', stream)
    register('message_hub', MessageHubState(runner.message_hub))
    register('optimizer', runner.optim_wrapper)
    register('param_schedulers', ScheduleStates(runner.param_schedulers or {}))


def save_run(runner: Any, path: Path, meta: Mapping[str, Any]) -> None:
    """Save everything that a resumed run needs, as plain data, in an atomic write.

    Args:
        runner: The run.
        path: Path of the checkpoint.
        meta: Additions to the description of the run.

    Raises:
        OSError: The checkpoint cannot be written.
    """
    flush_logs(runner.visualizer)
    runner.model.transfer()
    states = runner.checkpointer.state_dict()
    checkpoint = {'format': FORMAT, 'meta': {**describe_run(runner), **meta}, 'parts': list(states), **states}
    runner.call_hook('before_save_checkpoint', checkpoint=checkpoint)
    write_checkpoint(checkpoint, path)


def restored_pretraining(meta: Mapping[str, Any]) -> Pretraining | LoadedRun | None:
    """Return what became of pretrained weights when a run began, from the ``meta`` of one of its checkpoints."""
    described = meta.get('pretraining')  # runs of earlier versions do not say it
    if described is None:
        return None
    return LoadedRun(**described) if 'path' in described else Pretraining(**described)


def describe_run(runner: Any) -> dict[str, Any]:
    """Return the ``meta`` of a checkpoint: the config, seed and progress of the run."""
    return {
        'epoch': runner.epoch,
        'iter': runner.iter,
        'cfg': runner.cfg.pretty_text,
        'run': describe_run_config(runner.cfg),
        'hooks': describe_hooks(runner.cfg),
        'seed': runner.seed,
        'experiment_name': runner.experiment_name,
        'mmengine_version': mmengine.__version__,
        'pretraining': None if runner.model.pretraining is None else runner.model.pretraining._asdict(),
        'dataset_meta': getattr(runner.train_dataloader.dataset, 'metainfo', None),
    }


class MessageHubState:
    """The state of MMEngine's message hub."""

    def __init__(self, message_hub: MessageHub) -> None:
        self._message_hub = message_hub

    def state_dict(self) -> dict[str, Any]:
        """Return the state without ``'loop_stage'``, about which MMEngine would warn and which it sets itself."""
        state = self._message_hub.state_dict()
        return {
            field: {name: value for name, value in entries.items() if name != 'loop_stage'}
            for field, entries in state.items()
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned, as read from a checkpoint."""
        scalars = from_plain(dict(state_dict['log_scalars']))
        self._message_hub.load_state_dict({**state_dict, 'log_scalars': scalars})


class ScheduleStates:
    """The state of the schedules of both models.

    Args:
        schedules: The schedules of each model.
    """

    def __init__(self, schedules: Mapping[str, Sequence[Any]]) -> None:
        self._schedules = schedules

    def state_dict(self) -> dict[str, list[dict[str, Any]]]:
        """Return their states, without functions, which a schedule builds from its arguments."""
        return {
            name: [
                {field: value for field, value in schedule.state_dict().items() if not callable(value)}
                for schedule in schedules
            ]
            for name, schedules in self._schedules.items()
        }

    def load_state_dict(self, state_dict: Mapping[str, Sequence[dict[str, Any]]]) -> None:
        """Restore the states that :meth:`state_dict` returned."""
        for name, schedules in self._schedules.items():
            for schedule, state in zip(schedules, state_dict[name], strict=True):
                schedule.load_state_dict(state)
