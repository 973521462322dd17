"""The runner of a dual-model training or evaluation."""

import uuid
import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop, Runner
from mmengine.visualization import Visualizer
from torch import nn

from motivation.config.build import build, build_hooks, located
from motivation.config.checks import check_config
from motivation.config.defaults import with_defaults
from motivation.engine.beginning import begin_run
from motivation.engine.checkpointer import Checkpointer
from motivation.engine.checks.data_checks import check_data
from motivation.engine.compilation import compilation_explained, compile_models
from motivation.engine.loggers.tracker import open_trackers
from motivation.engine.optim.batch_size_rule import scale_rates
from motivation.engine.optim.schedules import build_schedules
from motivation.engine.parallel import train_together
from motivation.engine.resuming import Resumption, find_resumed, find_seed, load_weights, read_for
from motivation.engine.run_parts import save_run
from motivation.engine.write_failures import WriteFailures
from motivation.models import DualModel
from motivation.models.pretraining import unread_sources
from motivation.registry import LOG_PROCESSORS, LOOPS, MODELS, RUNNERS
from motivation.structures import StepRecord
from motivation.utils.interruption import Interruption
from motivation.utils.lock import lock_folder
from motivation.utils.logs import find_log_folder, guard_logs, warn_on_terminal
from motivation.utils.new_folders import keep_folder, removed_if_refused
from motivation.utils.precision import set_tf32


@RUNNERS.register_module()
class DualModelRunner(Runner):
    """Builds and runs the training or evaluation of a :class:`~motivation.models.DualModel` from a config.

    Unlike MMEngine's runner it builds a MotivationHook from ``motivation`` and one optimizer for each model, evaluates
    both models, writes plain checkpoints atomically, checks that a loaded checkpoint fits, writes its log to the
    work_dir instead of the terminal, and keeps the traceback of a failing hook.

    Example:
        >>> runner = DualModelRunner.from_cfg(load_config('configs/digits/resnet8_resnet20_consecutive.py'))
        >>> runner.train()
    """

    @classmethod
    def from_cfg(cls, cfg: Config) -> 'DualModelRunner':
        """Check a config and build its runner.

        Raises:
            ConfigError: The config is invalid.
        """
        with _removed_if_refused(cfg):
            check_config(cfg)
            return super().from_cfg(with_defaults(cfg))

    def __init__(self, experiment_name: str | None = None, cfg: Config | None = None, **kwargs: Any) -> None:
        # Runs of the same name would share MMEngine's log and message hub.
        name = experiment_name or (Path(cfg.filename).stem if cfg is not None and cfg.filename else 'run')
        kwargs['launcher'] = 'pytorch' if get_world_size() > 1 else 'none'
        self.checkpointer = Checkpointer()
        kwargs['log_processor'] = build(LOG_PROCESSORS, kwargs.get('log_processor'), 'log_processor')
        super().__init__(experiment_name=f'{name}_{uuid.uuid4().hex[:8]}', cfg=cfg, **kwargs)

    interruption: Interruption | None = None  # only during training
    unwritten: WriteFailures
    _resumption: Resumption  # only once everything is built
    optim_wrapper: Any
    param_schedulers: Any
    _load_from: str | None
    _has_loaded: bool

    def train(self) -> nn.Module:
        """Train and return the model.

        Raises:
            Interrupted: A SIGTERM, SIGINT or SIGUSR1 has stopped the run, after a checkpoint was saved.
            TrainingError: Training cannot continue, or results could not be written.
        """
        self.unwritten = WriteFailures(self.announce)
        if self.rank == 0:
            lock_folder(Path(self.work_dir))
            guard_logs(self.visualizer, self.logger, partial(self.unwritten.lose_log, self.log_dir))
        with warnings.catch_warnings(), Interruption() as self.interruption, _removed_if_refused(self.cfg):
            # The schedules of both models advance at every step, but only the active model's optimizer steps.
            warnings.filterwarnings('ignore', message='Detected call of `scheduler.step', category=UserWarning)
            try:
                with compilation_explained(self.cfg.get('compile')):
                    model = super().train()
                self.unwritten.check(self.work_dir)
                return model
            finally:
                self.call_hook('on_exit')  # also after an error or Ctrl-C
                self.interruption = None

    def test(self) -> dict[str, float]:
        """Evaluate both models; if the data or the checkpoint do not fit, a new work_dir is removed."""
        with _removed_if_refused(self.cfg):
            metrics = super().test()
        self.keep_work_dir()
        return metrics

    def keep_work_dir(self) -> None:
        """Keep the work_dir even if the run fails later."""
        keep_folder(Path(self.work_dir))

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """Move the models to the device, and wrap them if there are several processes."""
        model = model.to(get_device())
        if self.distributed:
            assert isinstance(model, DualModel)
            train_together(model, self.cfg)
        return model

    def _maybe_compile(self, target: str) -> None:
        """Compile each model in place instead of the whole training step."""
        if compile_models(self.model, self.cfg.get('compile')):
            self.logger.info('Both models are compiled; the first batches of each are slow.')
        open_trackers(self)  # everything is built and checked

    @property
    def trains(self) -> bool:
        """Whether this is a training, from ``before_run`` on, and not only an evaluation."""
        return self.interruption is not None

    @property
    def last_step(self) -> StepRecord:
        """The record of the last training batch, which hooks read; not available before the first."""
        return self.train_loop.last_step

    @property
    def resuming(self) -> bool:
        """Whether the run resumes an earlier one."""
        return self._resume

    def set_randomness(self, seed: int | None, *args: Any, **kwargs: Any) -> None:
        """Seed the run; a resumed run without a seed in its config has that of its checkpoint."""
        if seed is None and self.cfg.get('resume'):
            seed = find_seed(self.cfg)
        super().set_randomness(seed, *args, **kwargs)

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Set up the environment; a resumed run continues its log folder."""
        with located('env_cfg', env_cfg):
            super().setup_env(env_cfg)
        set_tf32(env_cfg.get('tf32'))
        if self.cfg.get('resume') and (logs := find_log_folder(Path(self.work_dir))) is not None:
            self._timestamp = logs.name

    def announce(self, message: str) -> None:
        """Log a message and show it to the user."""
        self.logger.info(message)
        self.call_hook('on_message', message=message)

    def load_or_resume(self) -> None:
        """Resume the run, or load the weights of ``load_from``; an evaluation only loads weights.

        Raises:
            ConfigError: There is nothing to resume; see also :meth:`resume` and :meth:`load_checkpoint`.
        """
        if self.trains:
            self._resumption = Resumption(self)
        if self._has_loaded:
            return
        path = str(find_resumed(self._load_from, Path(self.work_dir))) if self._resume else self._load_from
        if path is not None and self._resume and self.trains:
            self.resume(path)
        elif path is not None:
            self.load_checkpoint(path)
        elif self.trains:
            begin_run(self)
        self._has_loaded = self.trains or not self._resume

    def resume(self, filename: str, *_: Any, **__: Any) -> None:
        """Resume from a checkpoint of this run, within :meth:`train`.

        Raises:
            ConfigError: See :meth:`~motivation.engine.resuming.Resumption.resume`.
        """
        self._resumption.resume(Path(filename))

    def roll_back(self, checkpoint: Path) -> None:
        """Restore a checkpoint of this run, with the learning rate lowered by the rollbacks since then."""
        self._resume = True
        self._resumption.roll_back(checkpoint)

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        """Register a hook, also with the checkpointer."""
        before, config = [id(known) for known in self._hooks], hook if isinstance(hook, dict) else None
        super().register_hook(hook, priority)
        for added in self._hooks:
            if id(added) not in before:
                self.checkpointer.register_hook(added, config)

    def find_hook(self, hook_type: type[Hook]) -> Any:
        """Return the first registered hook of a type, or ``None`` if there is none."""
        return next((hook for hook in self.hooks if isinstance(hook, hook_type)), None)

    def build_logger(self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any) -> MMLogger:
        """Build a logger that shows only warnings on the terminal."""
        return warn_on_terminal(super().build_logger(log_level, log_file, **kwargs))

    def build_visualizer(self, visualizer: Any = None) -> Visualizer:
        """Build the visualizer and open its backends, so that a missing dependency is found before training."""
        with located('visualizer', visualizer):
            built = super().build_visualizer(visualizer)
            if self.rank == 0:
                for backend in built._vis_backends.values():
                    backend.experiment  # noqa: B018, opens it
        return built

    def build_model(self, model: Any) -> nn.Module:
        """Build the model, without reading pretrained weights that a checkpoint replaces; errors name its field."""
        with unread_sources() if self._resume or self._load_from else nullcontext():
            return build(MODELS, model, 'model')

    def register_hooks(self, default_hooks: Any = None, custom_hooks: Any = None) -> None:
        """Build and register the hooks; errors name their fields."""
        default, custom, configs = build_hooks(default_hooks or {}, custom_hooks or ())
        self.checkpointer.note_hook_configs(configs)
        super().register_hooks(default, custom)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Build the optimizer wrappers; errors name their field."""
        with located('optim_wrapper', optim_wrapper):
            return super().build_optim_wrapper(optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build the schedules; errors are about ``param_scheduler``."""
        return build_schedules(super().build_param_scheduler, scheduler, self.max_epochs)

    def scale_lr(self, optim_wrapper: Any, auto_scale_lr: dict[str, Any] | None = None) -> None:
        """Scale the learning rates of both models by the batch size."""
        scale_rates(optim_wrapper, self.train_dataloader.batch_size, auto_scale_lr, self.logger.info)

    def build_train_loop(self, loop: Any) -> BaseLoop:
        """Build the training loop and check its data."""
        return self._build_loop(loop, 'train')

    def build_val_loop(self, loop: Any) -> BaseLoop:
        """Build the validation loop and check its data."""
        return self._build_loop(loop, 'val', evaluator=self._val_evaluator)

    def build_test_loop(self, loop: Any) -> BaseLoop:
        """Build the test loop and check its data."""
        return self._build_loop(loop, 'test', evaluator=self._test_evaluator)

    def _build_loop(self, loop: Any, stage: str, **given: Any) -> BaseLoop:
        if isinstance(loop, BaseLoop):
            return loop
        dataloader = getattr(self, f'_{stage}_dataloader')
        built = build(LOOPS, loop, f'{stage}_cfg', runner=self, dataloader=dataloader, **given)
        return check_data(self, stage, built)

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call all hooks that have a method of this name; errors in ``before_run`` name the hook."""
        for hook in self._hooks:
            if hasattr(hook, fn_name):
                with located(f'hook {type(hook).__name__}') if fn_name == 'before_run' else nullcontext():
                    getattr(hook, fn_name)(self, **kwargs)

    def save_checkpoint(self, out_dir: str | Path, filename: str, meta: dict[str, Any] | None = None, **_: Any) -> None:
        """Save a checkpoint with everything that a resumed run needs, and ``meta`` in its description.

        Raises:
            OSError: The checkpoint cannot be written.
        """
        if self.rank == 0:
            save_run(self, Path(out_dir) / filename, meta or {})

    def load_checkpoint(self, filename: str, map_location: Any = 'cpu', **_: Any) -> dict[str, Any]:
        """Load the weights of both models from a checkpoint, and return the checkpoint.

        Raises:
            ConfigError: The file is missing, corrupted, or of other models or classes.
        """
        checkpoint = read_for(self, Path(filename), map_location)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        load_weights(self, checkpoint)
        self._has_loaded = True
        self.logger.info(f'Loaded {filename}')
        return checkpoint


def _removed_if_refused(config: Config) -> AbstractContextManager[None]:
    return removed_if_refused(Path(config.get('work_dir') or '.'), Path(config.filename or 'config.py').name)
