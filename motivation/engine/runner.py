"""MMEngine's runner with two models in it."""

import copy
import logging
import uuid
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import mmengine
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import get_world_size
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop, Runner
from torch import nn

from motivation.config.build_errors import explained, reason
from motivation.config.checks import check_config
from motivation.config.same_run import check_same_run, describe_hooks, describe_run_config
from motivation.engine.compilation import compilation_explained, compile_models
from motivation.engine.data_checks import check_data, check_trained_classes
from motivation.engine.hook_state import HookStates
from motivation.engine.parallel import train_together
from motivation.engine.resuming import (
    Unstarted,
    check_epoch_length,
    check_hooks,
    concerns_optimizers,
    load_unchanged,
    resume_finished,
    scale_rate,
)
from motivation.engine.train_loop import ROLLBACK_FACTOR
from motivation.errors import ConfigError, TrainingError
from motivation.models import DualModel
from motivation.models.pretraining import Pretraining
from motivation.registry import RUNNERS
from motivation.utils.checkpoint import (
    check_fits,
    check_plain,
    find_checkpoints,
    from_plain,
    newest_whole,
    read_checkpoint,
    to_plain,
    write_checkpoint,
)
from motivation.utils.interruption import Interruption
from motivation.utils.lock import lock_folder
from motivation.utils.logs import find_log_folder, flush_logs, forget_later_steps, guard_logs
from motivation.utils.new_folders import keep_folder, removed_if_refused

_MMENGINE_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')


@RUNNERS.register_module()
class DualModelRunner(Runner):
    """Assembles a run of a :class:`~motivation.models.DualModel` from a config.

    It differs from MMEngine's runner in this: it builds a MotivationHook from ``motivation`` and one
    optimizer for each model, evaluates both models, writes plain checkpoints atomically and refuses
    those of other models, keeps its log in the work_dir and off the terminal, and leaves the
    traceback of a failing hook alone.

    Example:
        >>> runner = DualModelRunner.from_cfg(load_config('configs/digits/resnet8_resnet20_consecutive.py'))
        >>> runner.train()
    """

    @classmethod
    def from_cfg(cls, cfg: Config) -> 'DualModelRunner':
        """Build the runner that a config describes.

        Raises:
            ConfigError: The config names what does not exist or lacks what is needed.
        """
        with _removed_if_refused(cfg):
            return cls._from_cfg(cfg)

    @classmethod
    def _from_cfg(cls, cfg: Config) -> 'DualModelRunner':
        given, cfg = cfg._cfg_dict.to_dict(), copy.deepcopy(cfg)
        check_config(cfg)
        hooks = cfg.get('default_hooks') or {}
        cfg.default_hooks = {
            # MMEngine removes its own hooks where they are None, and fails on others.
            **{name: hook for name, hook in hooks.items() if hook is not None or name in _MMENGINE_HOOKS},
            'motivation': dict(type='MotivationHook', **cfg.motivation),
        }
        cfg.train_cfg.pop('by_epoch', None)
        cfg.train_cfg.setdefault('type', 'DualTrainLoop')
        if cfg.get('optim_wrapper'):
            cfg.optim_wrapper.setdefault('constructor', 'DualOptimWrapperConstructor')
        for stage, loop in (('val', 'DualValLoop'), ('test', 'DualTestLoop')):
            if cfg.get(f'{stage}_cfg') is not None:
                cfg[f'{stage}_cfg'].setdefault('type', loop)
        for stage in ('train', 'val', 'test'):
            if cfg.get(f'{stage}_dataloader'):
                cfg[f'{stage}_dataloader'].setdefault('collate_fn', dict(type='motivation.collate_images'))
                cfg[f'{stage}_dataloader'].setdefault('worker_init_fn', dict(type='motivation.init_worker'))
        with explained(given):
            return super().from_cfg(cfg)

    def __init__(self, experiment_name: str | None = None, cfg: Config | None = None, **kwargs: Any) -> None:
        # MMEngine shares its log and message hub between runs of one name, and a name lasts a second.
        name = experiment_name or (Path(cfg.filename).stem if cfg is not None and cfg.filename else 'run')
        kwargs['launcher'] = 'pytorch' if get_world_size() > 1 else 'none'
        super().__init__(experiment_name=f'{name}_{uuid.uuid4().hex[:8]}', cfg=cfg, **kwargs)

    # MMEngine's, which are configs until they are built.
    optim_wrapper: Any
    param_schedulers: Any

    # What asks this run to end, while it trains.
    interruption: Interruption | None = None

    # What could not be written the last time it was tried, and why.
    unwritten: dict[str, str]

    # Fields of the config that differ from those of the run that is resumed.
    changes: Sequence[str] = ()

    # Optimizers and schedules as the config has them, from where a run goes on whose config differs.
    _unstarted: Unstarted | None = None

    # What the hooks remember that do not save it themselves; there before the first is registered.
    _hook_states: HookStates | None = None

    # Whether the log lacks steps because it could not be written.
    _log_missed = False

    def train(self) -> nn.Module:
        """Train, then return the model.

        Raises:
            Interrupted: SIGTERM, SIGINT or SIGUSR1 asked for an end; everything is saved.
            TrainingError: Training cannot go on.
        """
        self.unwritten = {}
        if self.rank == 0:
            lock_folder(Path(self.work_dir))
            guard_logs(self.visualizer, self.logger, self._miss_log)
        with warnings.catch_warnings(), Interruption() as self.interruption, _removed_if_refused(self.cfg):
            # Both schedules advance at every step, though only the active model's optimizer has stepped.
            warnings.filterwarnings('ignore', message='Detected call of `scheduler.step', category=UserWarning)
            try:
                with compilation_explained(self.cfg.get('compile')):
                    model = super().train()
                if self.unwritten:
                    raise TrainingError(
                        f"'{self.work_dir}' lacks {', '.join(self.unwritten)} ({', '.join({*self.unwritten.values()})}): "
                        'make room, then --resume, which writes what is missing'
                    )
                return model
            finally:
                self.call_hook('on_exit')  # also after an error or Ctrl-C
                self.interruption = None

    def test(self) -> dict[str, float]:
        """As MMEngine's.

        Raises:
            ConfigError: The data or the checkpoint do not fit; a folder made for the results is gone again.
        """
        with _removed_if_refused(self.cfg):
            metrics = super().test()
        self.keep_work_dir()
        return metrics

    def keep_work_dir(self) -> None:
        """Leave the work_dir where it is, whatever comes: something has been done for it."""
        keep_folder(Path(self.work_dir))

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """Move the models to the device; under several processes, let these train them together.

        Args:
            model_wrapper_cfg: Read from the config, as of :func:`~motivation.engine.parallel.train_together`.
            model: The models.
        """
        model = model.to(get_device())
        if self.distributed:
            assert isinstance(model, DualModel)
            train_together(model, self.cfg)
        return model

    def _maybe_compile(self, target: str) -> None:
        """Compile each model in place, not the whole training step."""
        if compile_models(self.model, self.cfg.get('compile')):
            self.logger.info('Both models are compiled; the first batches of each are slow.')

    @property
    def resuming(self) -> bool:
        """Whether the run continues an earlier one, rather than beginning from given weights or none."""
        return self._resume

    @property
    def pretraining(self) -> Pretraining | None:
        """What becomes of a pretrained motivated model, unless the run begins with the weights of a checkpoint."""
        begins_with_others = self._load_from is not None and not self.resuming
        return None if begins_with_others else getattr(self.model, 'pretraining', None)

    def set_randomness(self, seed: int | None, *args: Any, **kwargs: Any) -> None:
        """As MMEngine's; a resumed run without a seed of its own has that of the run it continues."""
        if seed is None and self.cfg.get('resume'):
            named, found = self.cfg.get('load_from'), newest_whole(find_checkpoints(Path(self.cfg.work_dir)))[0]
            path = Path(named) if named else found
            seed = read_checkpoint(path)['meta'].get('seed') if path is not None else None
        super().set_randomness(seed, *args, **kwargs)

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """As MMEngine's; a resumed run goes on logging where it did before."""
        super().setup_env(env_cfg)
        logs = find_log_folder(Path(self.work_dir)) if self.cfg.get('resume') else None
        if logs is not None:
            self._timestamp = logs.name

    def try_to_write(self, path: Path, write: Callable[[], Any]) -> None:
        """Write a result; where that fails, say so and go on. A run that ends without it ends with an error.

        Args:
            path: The file, which :attr:`unwritten` names.
            write: Writes it.
        """
        try:
            write()
            self.unwritten.pop(path.name, None)
        except OSError as error:
            self.unwritten[path.name] = error.strerror or str(error)
            self.tell(f"'{path}' cannot be written ({self.unwritten[path.name]}); the run goes on: make room")

    def _miss_log(self, error: OSError) -> None:
        if not self._log_missed:
            self._log_missed = True
            self.tell(
                f"the log in '{self.log_dir}' cannot be written ({error.strerror}) and will lack steps; make room"
            )

    def tell(self, message: str) -> None:
        """Say something to who watches the run, and to its log."""
        self.logger.info(message)
        self.call_hook('on_message', message=message)

    def load_or_resume(self) -> None:
        """As MMEngine's; resuming without a path goes on from the newest whole checkpoint of the work_dir.

        Raises:
            ConfigError: There is none, or as of :meth:`load_checkpoint`.
        """
        if self._has_loaded:
            return
        if self._resume and self._load_from is None:
            newest, _ = newest_whole(find_checkpoints(Path(self.work_dir)))
            if newest is None:
                raise ConfigError(
                    f"resume is True, and work_dir '{self.work_dir}' has no whole checkpoint; name one as load_from, or "
                    'begin anew with resume=False'
                )
            self._load_from: str | None = str(newest)
        if self._hook_states is not None:
            self._hook_states.settle()
        if self._resume:  # as train() does, before which this may be called
            assert isinstance(self.train_loop, BaseLoop)
            self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
            if self.param_schedulers is not None:
                self.param_schedulers = self.build_param_scheduler(self.param_schedulers)
            self._unstarted = Unstarted(dict(self.optim_wrapper.items()), self.param_schedulers or {})
        super().load_or_resume()

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Go on from a checkpoint of this run.

        Args:
            filename: A local path.
            *args: As of MMEngine's runner.
            **kwargs: As of MMEngine's runner.

        Raises:
            ConfigError: As of :meth:`load_checkpoint`.
        """
        checkpoint = self.load_checkpoint(filename, get_device())
        meta, loop = checkpoint['meta'], self.train_loop
        changes = [*self.changes, *check_epoch_length(self, meta, filename), *check_hooks(self, meta)]
        loop.load_state_dict(meta)
        self.message_hub.load_state_dict(checkpoint['message_hub'])
        if concerns_optimizers(changes):
            assert self._unstarted is not None
            factor = ROLLBACK_FACTOR**loop.rollbacks
            for said in self._unstarted.go_on(checkpoint, changes, len(loop.dataloader), factor):
                self.tell(said)
        else:
            load_unchanged(dict(self.optim_wrapper.items()), self.param_schedulers or {}, checkpoint)
        resume_finished(self, changes)
        self.logger.info(f'resumed epoch: {self.epoch}, iter: {self.iter}')
        if self.rank == 0:
            forget_later_steps(self.visualizer, Path(self.log_dir), self.iter)

    def roll_back(self, checkpoint: Path) -> None:
        """Return to a checkpoint of this run, with a learning rate that is lower by the rollbacks since then.

        Args:
            checkpoint: Where to.
        """
        loop, rollbacks = self.train_loop, self.train_loop.rollbacks
        self._resume = True
        self.resume(str(checkpoint))
        factor = ROLLBACK_FACTOR ** (rollbacks - loop.rollbacks)
        loop.rollbacks = rollbacks
        for name, wrapper in self.optim_wrapper.items():
            scale_rate(wrapper, (self.param_schedulers or {}).get(name, ()), factor)

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        """As MMEngine's; what the hook remembers is saved and restored with the run."""
        self._hook_states = self._hook_states or HookStates()
        before, config = [id(known) for known in self._hooks], dict(hook) if isinstance(hook, dict) else None
        super().register_hook(hook, priority)
        for added in self._hooks:
            if id(added) not in before:
                self._hook_states.add(added, config)

    def find_hook(self, hook_type: type[Hook]) -> Any:
        """The first registered hook of a type; ``None`` if there is none."""
        return next((hook for hook in self.hooks if isinstance(hook, hook_type)), None)

    def build_logger(self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any) -> MMLogger:
        """As MMEngine's, but only warnings reach the terminal."""
        logger = super().build_logger(log_level, log_file, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.WARNING)
        return logger

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """As MMEngine's, with a sentence where an optimizer refuses its arguments."""
        with explained(self.cfg._cfg_dict.to_dict()):
            return super().build_optim_wrapper(optim_wrapper)

    def scale_lr(self, optim_wrapper: Any, auto_scale_lr: Any = None) -> None:
        """As MMEngine's, with a sentence where it cannot."""
        with explained(self.cfg._cfg_dict.to_dict()):
            super().scale_lr(optim_wrapper, auto_scale_lr)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """As MMEngine's, with a sentence where a schedule does not fit the run.

        Raises:
            ConfigError: A schedule begins after the run ends, or takes other values.
        """
        try:
            return super().build_param_scheduler(scheduler)
        except Exception as error:
            raise ConfigError(
                f'param_scheduler does not fit train_cfg.max_epochs, which is {self.max_epochs}: {reason(error)}; '
                'make them agree, or train without with param_scheduler=[]'
            ) from error

    def build_train_loop(self, loop: Any) -> BaseLoop:
        """As MMEngine's, after checking the training data against the models."""
        with explained(self.cfg._cfg_dict.to_dict()):
            return check_data(self, 'train', super().build_train_loop(loop))

    def build_val_loop(self, loop: Any) -> BaseLoop:
        """As MMEngine's, after checking the validation data against the models."""
        with explained(self.cfg._cfg_dict.to_dict()):
            return check_data(self, 'val', super().build_val_loop(loop))

    def build_test_loop(self, loop: Any) -> BaseLoop:
        """As MMEngine's, after checking the test data against the models."""
        with explained(self.cfg._cfg_dict.to_dict()):
            return check_data(self, 'test', super().build_test_loop(loop))

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call all hooks; what one raises keeps its own traceback, but where it only now builds what it is made of."""
        for hook in self._hooks:
            if hasattr(hook, fn_name):
                with explained({}, subject=f'hook {type(hook).__name__}') if fn_name == 'before_run' else nullcontext():
                    getattr(hook, fn_name)(self, **kwargs)

    def save_checkpoint(self, out_dir: str | Path, filename: str, meta: dict[str, Any] | None = None, **_: Any) -> None:
        """Save everything a resumed run needs, as plain data, whole or not at all.

        Args:
            out_dir: Folder of the checkpoint.
            filename: Its name.
            meta: Whatever else it shall say of itself.

        Raises:
            OSError: It cannot be written.
        """
        if self.rank != 0:
            return
        flush_logs(self.visualizer)
        self.model.transfer()
        for hook in self.hooks:
            if isinstance(hook, EMAHook):  # the averages change places with the weights, which model is active does not
                hook.ema_model.module.set_extra_state(self.model.get_extra_state())
        checkpoint = {
            'meta': {
                **self.train_loop.state_dict(),
                'cfg': self.cfg.pretty_text,
                'run': describe_run_config(self.cfg),
                'hooks': describe_hooks(self.cfg),
                'seed': self.seed,
                'experiment_name': self.experiment_name,
                'mmengine_version': mmengine.__version__,
                'dataset_meta': getattr(self.train_dataloader.dataset, 'metainfo', None),
                **(meta or {}),
            },
            'state_dict': self.model.state_dict(),
            'message_hub': _without_stage(self.message_hub.state_dict()),
            **self._state_of_parts(),
        }
        self.call_hook('before_save_checkpoint', checkpoint=checkpoint)
        write_checkpoint(checkpoint, Path(out_dir) / filename)

    def _state_of_parts(self) -> dict[str, Any]:
        return {
            'optimizer': self.optim_wrapper.state_dict(),
            'param_schedulers': {
                name: [_without_functions(scheduler.state_dict()) for scheduler in schedulers]
                for name, schedulers in (self.param_schedulers or {}).items()
            },
            'hooks': self._hook_states.state_dict() if self._hook_states is not None else [],
        }

    def check_state(self) -> None:
        """Refuse parts whose state no checkpoint can hold, before there is anything to lose.

        Raises:
            ConfigError: Names the part.
        """
        for name, state in self._state_of_parts().items():
            check_plain(to_plain(state), name)

    def load_checkpoint(self, filename: str, map_location: Any = 'cpu', **_: Any) -> dict[str, Any]:
        """Load both models from a checkpoint.

        Args:
            filename: A local path.
            map_location: As of :func:`torch.load`.

        Returns:
            The checkpoint.

        Raises:
            ConfigError: The file is missing, damaged, or of other models, classes or, resuming, another run.
        """
        checkpoint = read_checkpoint(Path(filename), map_location)
        if 'config' in checkpoint:
            raise ConfigError(
                f"'{filename}' is one exported model, and both are needed; give an epoch_<n>.pth of a run"
            )
        check_fits(checkpoint['state_dict'], self.model, Path(filename))
        check_trained_classes(self, checkpoint, Path(filename))
        if self.resuming:
            changes = check_same_run(self.cfg, checkpoint['meta']['run'], Path(filename))
            if changes:
                self.tell(f'going on though {", ".join(changes.values())}')
            self.changes = list(changes)
        checkpoint['message_hub']['log_scalars'] = from_plain(checkpoint['message_hub']['log_scalars'])
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        if self.resuming and self._hook_states is not None:
            for name in self._hook_states.load_state_dict(checkpoint.get('hooks', [])):
                self.tell(f"'{filename}' has the state of a {name}, which the run no longer has; going on without")
        self.model.load_state_dict(checkpoint['state_dict'])
        self._has_loaded = True
        self.logger.info(f'Loaded {filename}')
        return checkpoint


def _removed_if_refused(config: Config) -> AbstractContextManager[None]:
    return removed_if_refused(Path(config.get('work_dir') or '.'), Path(config.filename or 'config.py').name)


def _without_functions(state: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a schedule has set itself from its arguments, and has again when it is built."""
    return {name: value for name, value in state.items() if not callable(value)}


def _without_stage(message_hub: dict[str, Any]) -> dict[str, Any]:
    """Leave out what MMEngine sets anew, and warns of where it finds it in a checkpoint."""
    for part in ('runtime_info', 'resumed_keys'):
        message_hub[part].pop('loop_stage', None)
    return message_hub
