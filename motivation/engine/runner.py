"""MMEngine's runner with two models in it."""

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
from motivation.engine.checkpointer import Checkpointer
from motivation.engine.compilation import compilation_explained, compile_models
from motivation.engine.data_checks import check_data
from motivation.engine.parallel import train_together
from motivation.engine.resuming import Resumption, find_resumed, find_seed, read_for
from motivation.engine.run_parts import save_run
from motivation.engine.write_failures import WriteFailures
from motivation.errors import ConfigError, reason
from motivation.models import DualModel
from motivation.models.pretraining import Pretraining
from motivation.registry import LOG_PROCESSORS, LOOPS, MODELS, RUNNERS
from motivation.structures import StepRecord
from motivation.utils.interruption import Interruption
from motivation.utils.lock import lock_folder
from motivation.utils.logs import find_log_folder, guard_logs, warn_on_terminal
from motivation.utils.new_folders import keep_folder, removed_if_refused


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
            check_config(cfg)
            return super().from_cfg(with_defaults(cfg))

    def __init__(self, experiment_name: str | None = None, cfg: Config | None = None, **kwargs: Any) -> None:
        # MMEngine shares its log and message hub between runs of one name, and a name lasts a second.
        name = experiment_name or (Path(cfg.filename).stem if cfg is not None and cfg.filename else 'run')
        kwargs['launcher'] = 'pytorch' if get_world_size() > 1 else 'none'
        self.checkpointer = Checkpointer()
        kwargs['log_processor'] = build(LOG_PROCESSORS, kwargs.get('log_processor'), 'log_processor')
        super().__init__(experiment_name=f'{name}_{uuid.uuid4().hex[:8]}', cfg=cfg, **kwargs)

    interruption: Interruption | None = None  # asks the run to end, while it trains
    unwritten: WriteFailures  # the results that could not be written
    _resumption: Resumption  # restores the run from its checkpoints, once everything is built

    # MMEngine's: configs until they are built; the checkpoint that is named, and whether one has been loaded.
    optim_wrapper: Any
    param_schedulers: Any
    _load_from: str | None
    _has_loaded: bool

    def train(self) -> nn.Module:
        """Train, then return the model.

        Raises:
            Interrupted: SIGTERM, SIGINT or SIGUSR1 asked for an end; everything is saved.
            TrainingError: Training cannot go on.
        """
        self.unwritten = WriteFailures(self.announce)
        if self.rank == 0:
            lock_folder(Path(self.work_dir))
            guard_logs(self.visualizer, self.logger, partial(self.unwritten.lose_log, self.log_dir))
        with warnings.catch_warnings(), Interruption() as self.interruption, _removed_if_refused(self.cfg):
            # Both schedules advance at every step, though only the active model's optimizer has stepped.
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
        """As MMEngine's; where the data or the checkpoint do not fit, a folder made for the results is removed."""
        with _removed_if_refused(self.cfg):
            metrics = super().test()
        self.keep_work_dir()
        return metrics

    def keep_work_dir(self) -> None:
        """Leave the work_dir where it is, whatever comes: something has been done for it."""
        keep_folder(Path(self.work_dir))

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """Move the models to the device; under several processes, let these train them together."""
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
    def trains(self) -> bool:
        """Whether training is under way, from ``before_run`` on, rather than an evaluation alone."""
        return self.interruption is not None

    @property
    def last_step(self) -> StepRecord:
        """The record of the last training batch, which hooks read; there is none before the first."""
        return self.train_loop.last_step

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
            seed = find_seed(self.cfg)
        super().set_randomness(seed, *args, **kwargs)

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """As MMEngine's; a resumed run goes on logging where it did before."""
        with located('env_cfg', env_cfg):
            super().setup_env(env_cfg)
        logs = find_log_folder(Path(self.work_dir)) if self.cfg.get('resume') else None
        if logs is not None:
            self._timestamp = logs.name

    def announce(self, message: str) -> None:
        """Show a message to whoever watches the run, and log it."""
        self.logger.info(message)
        self.call_hook('on_message', message=message)

    def load_or_resume(self) -> None:
        """Resume, or load the weights that the run begins with; an evaluation alone loads weights only.

        Raises:
            ConfigError: There is nothing to resume, or as of :meth:`resume` and :meth:`load_checkpoint`.
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
        self._has_loaded = self.trains or not self._resume

    def resume(self, filename: str, *_: Any, **__: Any) -> None:
        """Go on from a checkpoint of this run, within :meth:`train`.

        Raises:
            ConfigError: As of :meth:`~motivation.engine.resuming.Resumption.resume`.
        """
        self._resumption.resume(Path(filename))

    def roll_back(self, checkpoint: Path) -> None:
        """Return to a checkpoint of this run, with a learning rate that is lower by the rollbacks since then."""
        self._resume = True
        self._resumption.roll_back(checkpoint)

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        """As MMEngine's; what the hook remembers is saved and restored with the run."""
        before, config = [id(known) for known in self._hooks], hook if isinstance(hook, dict) else None
        super().register_hook(hook, priority)
        for added in self._hooks:
            if id(added) not in before:
                self.checkpointer.register_hook(added, config)

    def find_hook(self, hook_type: type[Hook]) -> Any:
        """The first registered hook of a type; ``None`` if there is none."""
        return next((hook for hook in self.hooks if isinstance(hook, hook_type)), None)

    def build_logger(self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any) -> MMLogger:
        """As MMEngine's, but only warnings reach the terminal."""
        return warn_on_terminal(super().build_logger(log_level, log_file, **kwargs))

    def build_visualizer(self, visualizer: Any = None) -> Visualizer:
        """As MMEngine's; its backends open at once, which on a machine may lack what they need."""
        with located('visualizer', visualizer):
            built = super().build_visualizer(visualizer)
            if self.rank == 0:
                for backend in built._vis_backends.values():
                    backend.experiment  # noqa: B018, opens it
        return built

    def build_model(self, model: Any) -> nn.Module:
        """As MMEngine's, with the field of what a model refuses."""
        return build(MODELS, model, 'model')

    def register_hooks(self, default_hooks: Any = None, custom_hooks: Any = None) -> None:
        """As MMEngine's, with the field of what a hook refuses."""
        default, custom, configs = build_hooks(default_hooks or {}, custom_hooks or ())
        self.checkpointer.note_hook_configs(configs)
        super().register_hooks(default, custom)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """As MMEngine's, with the field of what an optimizer refuses."""
        with located('optim_wrapper', optim_wrapper):
            return super().build_optim_wrapper(optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """As MMEngine's, with a sentence where a schedule does not fit the run."""
        try:
            return super().build_param_scheduler(scheduler)
        except Exception as error:
            raise ConfigError(
                f'param_scheduler does not fit train_cfg.max_epochs, which is {self.max_epochs}: {reason(error)}; '
                'make them agree, or train without with param_scheduler=[]'
            ) from error

    def build_train_loop(self, loop: Any) -> BaseLoop:
        """As MMEngine's, after checking the training data against the models."""
        return self._build_loop(loop, 'train')

    def build_val_loop(self, loop: Any) -> BaseLoop:
        """As MMEngine's, after checking the validation data against the models."""
        return self._build_loop(loop, 'val', evaluator=self._val_evaluator)

    def build_test_loop(self, loop: Any) -> BaseLoop:
        """As MMEngine's, after checking the test data against the models."""
        return self._build_loop(loop, 'test', evaluator=self._test_evaluator)

    def _build_loop(self, loop: Any, stage: str, **given: Any) -> BaseLoop:
        if isinstance(loop, BaseLoop):
            return loop
        dataloader = getattr(self, f'_{stage}_dataloader')
        built = build(LOOPS, loop, f'{stage}_cfg', runner=self, dataloader=dataloader, **given)
        return check_data(self, stage, built)

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call all hooks; what one raises keeps its own traceback, but where it only now builds what it is made of."""
        for hook in self._hooks:
            if hasattr(hook, fn_name):
                with located(f'hook {type(hook).__name__}') if fn_name == 'before_run' else nullcontext():
                    getattr(hook, fn_name)(self, **kwargs)

    def save_checkpoint(self, out_dir: str | Path, filename: str, meta: dict[str, Any] | None = None, **_: Any) -> None:
        """Save everything that a resumed run needs; ``meta`` adds to what describes the run.

        Raises:
            OSError: It cannot be written.
        """
        if self.rank == 0:
            save_run(self, Path(out_dir) / filename, meta or {})

    def load_checkpoint(self, filename: str, map_location: Any = 'cpu', **_: Any) -> dict[str, Any]:
        """Load the weights of both models from a checkpoint, and return it.

        Raises:
            ConfigError: The file is missing, damaged, or of other models or classes.
        """
        checkpoint = read_for(self, Path(filename), map_location)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        self.model.load_state_dict(checkpoint['state_dict'])
        self._has_loaded = True
        self.logger.info(f'Loaded {filename}')
        return checkpoint


def _removed_if_refused(config: Config) -> AbstractContextManager[None]:
    return removed_if_refused(Path(config.get('work_dir') or '.'), Path(config.filename or 'config.py').name)
