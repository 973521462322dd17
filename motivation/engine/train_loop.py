"""The training loop: it can begin and end at any batch, and takes no step on a loss that is no number."""

import math
import signal
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader

from motivation.config.build import build_data_loader
from motivation.config.metric_names import UnknownMetricError
from motivation.datasets.seeded import PlacedSampler, SeededDataset
from motivation.engine.batch_checks import left_alone
from motivation.engine.checkpoint import find_checkpoints, newest_whole
from motivation.engine.evaluation_loop import ValidationInterruptedError
from motivation.engine.log_histories import history_bounds
from motivation.errors import ConfigError, TrainingError
from motivation.registry import LOOPS
from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.arguments import Count, checked
from motivation.utils.distributed import mean_over_processes, sum_over_processes
from motivation.utils.interruption import Interrupted

# How often something is tried before training gives up.
MAX_SKIPPED_IN_A_ROW = 10
MAX_ROLLBACKS = 5
MAX_WORKER_RESTARTS = 3

ROLLBACK_FACTOR = 0.5

_STATE = ('validation_due', 'stop_training', 'skipped', 'rollbacks')


class NonFiniteError(ArithmeticError):
    """Numbers of a model that are none.

    Args:
        model: The model.
        loss: Its loss, on which no step was taken; ``None`` if it is the weights that a step has spoilt.
    """

    def __init__(self, model: ModelName, loss: float | None) -> None:
        super().__init__(model, loss)
        self.model = model
        self.loss = loss


@LOOPS.register_module()
class DualTrainLoop(EpochBasedTrainLoop):
    """MMEngine's loop over epochs, which goes on from within an epoch and ends in order.

    Beside MMEngine's hook points it has two: ``between_iters``, where everything of a batch is over and
    nothing of the next has begun, and ``after_epoch``, where an epoch and its validation are over.

    Args:
        runner: The runner.
        dataloader: Data loader, or its config.
        max_epochs: Epochs of the run.
        val_begin: First epoch after which to validate.
        val_interval: Epochs from one validation to the next; the last epoch is always validated.
        on_bad_loss: What to do where a loss is NaN or infinite, on which no step is ever taken:
            ``'stop'`` training, saving nothing; ``'skip'`` the batch and count it, at most ten in a row;
            or ``'rollback'`` to the newest checkpoint with half the learning rate, at most five times.
            The policy is told nothing of such a batch. Weights that are NaN or infinite, after a bad
            gradient of a good loss, are never evaluated or saved: the run stops or is rolled back.

    Raises:
        ConfigError: ``on_bad_loss`` is none of these.

    Example:
        >>> train_cfg = dict(max_epochs=100, on_bad_loss='skip')
    """

    @checked
    def __init__(
        self,
        runner: Runner,
        dataloader: Any,
        max_epochs: Count,
        val_begin: int = 1,
        val_interval: Count = 1,
        on_bad_loss: Literal['stop', 'skip', 'rollback'] = 'stop',
    ) -> None:
        loader = build_data_loader(
            runner, dataloader, 'train_dataloader', lambda dataset: SeededDataset(dataset, (runner.seed, runner.rank))
        )
        super().__init__(runner, loader, max_epochs, val_begin, val_interval)
        self.on_bad_loss = on_bad_loss
        # Whether an epoch is over, and its validation not.
        self.validation_due = False
        self.skipped = self.rollbacks = 0
        self._skipped_in_a_row = 0
        # Batches that were over when the epoch began; not every epoch of a resumed run needs to have been as long.
        self._epoch_begin = 0
        self._sampler = _place(self.dataloader)

    def run(self) -> torch.nn.Module:
        """Train from where the run stands to its end."""
        for name in MODEL_NAMES:
            wrapper = self.runner.optim_wrapper[name]
            wrapper.update_params = _only_finite(name, wrapper.update_params)
        evaluation = len(self.runner.val_dataloader) if self.runner.val_loop is not None else 0
        self._bounds = history_bounds(self.runner.log_processor, len(self.dataloader), evaluation)
        self.runner.call_hook('before_train')
        while self.validation_due or (self._epoch < self._max_epochs and not self.stop_training):
            try:
                if not self.validation_due:
                    self.run_epoch()
                if self.validation_due:
                    self._validate()
                self.runner.call_hook('after_epoch')
            except NonFiniteError as bad:
                self._stop_or_roll_back(bad)
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train to the end of the epoch."""
        done = self._iter - self._epoch_begin
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for batch_idx, data_batch in enumerate(self._batches(done), done):
            self.run_iter(batch_idx, data_batch)
            self.runner.keep_work_dir()
            self.runner.call_hook('between_iters')
            if self.runner.interruption.asked():
                self._end()
        self.check_weights()
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self._epoch_begin = self._iter
        self.validation_due = self._is_validated(self._epoch)

    def run_iter(self, batch_idx: int, data_batch: Any) -> None:
        """Train on one batch."""
        self.runner.call_hook('before_train_iter', batch_idx=batch_idx, data_batch=data_batch)
        model = self.runner.model
        statistics = [buffer.clone() for buffer in model.buffers()] if self.on_bad_loss == 'skip' else []
        try:
            outputs = model.train_step(data_batch, optim_wrapper=self.runner.optim_wrapper)
            self._skipped_in_a_row = 0
        except ValueError as error:
            alone = left_alone(data_batch, error)
            if alone is None:
                raise
            raise alone from error
        except NonFiniteError as bad:
            if self.on_bad_loss != 'skip':
                raise
            self._skip(bad)
            for buffer, value in zip(model.buffers(), statistics, strict=True):
                buffer.copy_(value)
            outputs = {'loss': torch.tensor(bad.loss), 'motivated': float(model.active == 'motivated')}
        self.runner.call_hook('after_train_iter', batch_idx=batch_idx, data_batch=data_batch, outputs=outputs)
        self._bounds.apply(self.runner.message_hub)
        self._iter += 1

    def check_weights(self) -> None:
        """See to it that nothing is evaluated or saved that is no number; all processes must ask.

        Raises:
            NonFiniteError: A parameter of a model is NaN or infinite, as after a bad gradient of a good loss.
        """
        for name in MODEL_NAMES:
            finite = [parameter.isfinite().all() for parameter in getattr(self.runner.model, name).parameters()]
            if sum_over_processes(not torch.stack(finite).all().item()):
                raise NonFiniteError(name, None)

    def _batches(self, done: int) -> Iterator[Any]:
        """The batches of an epoch after the first ``done``; loading is begun anew where a worker has died."""
        restarts = 0
        while done < len(self.dataloader):
            batches = self._load(done)
            try:
                for batch in batches:
                    yield batch
                    done += 1
                break
            except RuntimeError as error:
                if 'DataLoader worker' not in str(error):
                    raise
                restarts += 1
                if restarts > MAX_WORKER_RESTARTS:
                    raise TrainingError(
                        f'data-loading workers died {restarts} times in epoch {self._epoch + 1} ({error}); the machine may '
                        'be short of memory: lower train_dataloader.num_workers, and continue with --resume'
                    ) from error
                self.dataloader._iterator = None  # that of persistent workers
                self.runner.tell(f'a data-loading worker died ({error}); loading goes on with batch {done + 1}')
        if done < len(self.dataloader):
            raise ConfigError(
                f'train_dataloader.sampler ends after {done:,} batches of epoch {self._epoch + 1}, which has '
                f'{len(self.dataloader):,} by its length; make both agree'
            )

    def _load(self, done: int) -> Iterator[Any]:
        if self._sampler is None:  # a batch sampler of the user's own
            return islice(self.dataloader, done, len(self.dataloader))
        self._sampler.begin = done * self.dataloader.batch_size
        batches = iter(self.dataloader)
        # Torch raises where a worker dies, wherever training is then; asking for the next batch says so too.
        if self.dataloader.num_workers and signal.getsignal(signal.SIGCHLD) not in (signal.SIG_DFL, None):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return batches

    def _is_validated(self, epoch: int) -> bool:
        if self.runner.val_loop is None or epoch < self.val_begin:
            return False
        return epoch % self.val_interval == 0 or epoch == self._max_epochs or self.stop_training

    def _validate(self) -> None:
        try:
            self.runner.val_loop.run()
        except ValidationInterruptedError:
            self._end()
        except UnknownMetricError:  # the epoch is saved; it is validated anew where the run goes on
            self.runner.call_hook('before_interruption')
            raise
        self.validation_due = False
        if self.runner.interruption.asked():
            self.runner.call_hook('after_epoch')
            self._end()

    def _end(self) -> None:
        """Save and end because a signal asked for it."""
        self.runner.call_hook('before_interruption')
        raise Interrupted(self.runner.interruption.exit_status)

    def _skip(self, bad: NonFiniteError) -> None:
        self.skipped += 1
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row > MAX_SKIPPED_IN_A_ROW:
            raise TrainingError(
                f'{self._describe(bad)}, for the {self._skipped_in_a_row}th batch in a row: the weights are past saving; '
                "continue from an earlier checkpoint, or with train_cfg.on_bad_loss='rollback'"
            ) from bad
        self.runner.tell(f'{self._describe(bad)}; the batch is skipped')

    def _stop_or_roll_back(self, bad: NonFiniteError) -> None:
        said = self._describe(bad)
        if self.on_bad_loss != 'rollback':
            ways_on = "'rollback'" if bad.loss is None else "'skip' or 'rollback'"
            raise TrainingError(
                f'{said}; nothing was saved after it: lower optim_wrapper.optimizer.lr or clip the gradient '
                f'(optim_wrapper.clip_grad), or go on with train_cfg.on_bad_loss={ways_on}'
            ) from bad
        checkpoint, _ = newest_whole(find_checkpoints(Path(self.runner.work_dir)))
        if checkpoint is None or self.rollbacks == MAX_ROLLBACKS:
            reason = f'{MAX_ROLLBACKS} rollbacks did not help' if checkpoint else 'there is no checkpoint to go back to'
            raise TrainingError(f'{said}; {reason}: begin with a lower optim_wrapper.optimizer.lr') from bad
        self.rollbacks += 1
        self.runner.roll_back(checkpoint)
        self.runner.tell(f"{said}; back to '{checkpoint.name}', with {ROLLBACK_FACTOR:g} of the learning rate")

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint says of where the run stands."""
        place = {'epoch': self._epoch, 'iter': self._iter, 'epoch_begin': self._epoch_begin}
        return {field: getattr(self, field) for field in _STATE} | place | {'epoch_length': len(self.dataloader)}

    @property
    def is_within_epoch(self) -> bool:
        """Whether the epoch has begun."""
        return self._iter != self._epoch_begin

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stand where a checkpoint says."""
        length = len(self.dataloader)
        self._epoch, self._iter = state['epoch'], state['iter']
        self._epoch_begin = state.get('epoch_begin', self._epoch * length)
        self._max_iters = self._epoch_begin + (self._max_epochs - self._epoch) * length
        for field in _STATE:
            setattr(self, field, state.get(field, False))

    def _describe(self, bad: NonFiniteError) -> str:
        from motivation.hooks import MotivationHook  # hooks know the loop

        losses = [loss for loss in self.runner.find_hook(MotivationHook).trace.losses if math.isfinite(loss)]
        rate = self.runner.optim_wrapper[bad.model].get_lr()['lr'][0]
        iteration = self._iter + 1 if bad.loss is not None else self._iter  # weights are looked at when it is over
        batch, epoch = iteration - self._epoch_begin, self._epoch + 1
        if batch == 0:
            batch, epoch = len(self.dataloader), self._epoch
        what = (
            f'the loss of the {bad.model} model is {bad.loss} at'
            if bad.loss is not None
            else f'weights of the {bad.model} model are NaN or infinite after a step on a gradient that was, by'
        )
        return (
            f'{what} batch {batch} of epoch {epoch} (iteration {iteration}), learning rate {rate:.4g}, last good losses '
            f'{", ".join(f"{loss:.4g}" for loss in losses[-3:]) or "none"}'
        )


def _place(dataloader: DataLoader) -> PlacedSampler | None:
    """Let a data loader know the places of its samples; ``None`` if a batch sampler of the user's own chooses them."""
    if type(dataloader.batch_sampler) is not BatchSampler:
        return None
    placed = PlacedSampler(dataloader.sampler)
    dataloader.batch_sampler.sampler = placed
    return placed


def _only_finite(model: ModelName, update_params: Callable[..., None]) -> Callable[..., None]:
    """A step that is not taken where the loss, or that of another process, is no number."""

    def update(loss: Tensor, *args: Any, **kwargs: Any) -> None:
        value = mean_over_processes(loss)
        if not math.isfinite(value):
            raise NonFiniteError(model, value)
        update_params(loss, *args, **kwargs)

    return update
