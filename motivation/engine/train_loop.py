"""The training loop, which can start and stop at any batch and takes no step on a non-finite loss."""

import time
from collections import deque
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from mmengine.dist import get_world_size
from mmengine.runner import EpochBasedTrainLoop, Runner

from motivation.config.build import build_data_loader
from motivation.config.metric_names import UnknownMetricError
from motivation.datasets.seeded import SeededDataset
from motivation.engine.checks.batch_checks import check_micro_batches, left_alone
from motivation.engine.epoch_batches import EpochBatches
from motivation.engine.evaluation_loop import ValidationInterruptedError
from motivation.engine.loggers.log_histories import history_bounds
from motivation.engine.optim.exchanging import exchange_of
from motivation.engine.optim.non_finite import (
    MAX_OVERFLOWS_IN_A_ROW,
    MAX_ROLLBACKS,
    MAX_SKIPPED_IN_A_ROW,
    NonFiniteError,
    check_weights,
    describe,
    too_many_overflows,
    too_many_skipped,
    ways_out,
)
from motivation.errors import TrainingError
from motivation.registry import LOOPS
from motivation.structures import MODEL_NAMES, ModelName, StepRecord
from motivation.utils.arguments import Count, Written, checked
from motivation.utils.checkpoint import find_checkpoints, newest_whole
from motivation.utils.interruption import Interrupted
from motivation.utils.training_parts import TrainingParts

ROLLBACK_FACTOR = 0.5

_STATE = ('validation_due', 'stop_training', 'skipped', 'rollbacks')

# Number of finite losses named in an error.
_SHOWN_LOSSES = 3


@LOOPS.register_module()
class DualTrainLoop(EpochBasedTrainLoop):
    """MMEngine's epoch-based loop that resumes within an epoch and stops in order on a signal.

    Besides MMEngine's hook points it calls ``between_iters``, when a batch is completely over and the next has not
    begun, and ``after_epoch``, after an epoch and its validation.

    Args:
        runner: The runner; its optimizer wrappers are those of
            :class:`~motivation.engine.DualOptimWrapperConstructor`.
        dataloader: Data loader, or its config.
        max_epochs: Number of epochs, at least 1.
        val_begin: First epoch after which to validate. Default: 1.
        val_interval: Epochs between validations; the last epoch is always validated. Default: 1.
        on_bad_loss: What to do on a non-finite loss, on which no step is ever taken and which the policy does not
            receive: ``'stop'`` (default) raises an error without saving; ``'skip'`` skips the batch, at most ten in a
            row (with distillation only the base model's step, if the motivated model's loss is finite);
            ``'rollback'`` restores the newest checkpoint with half the learning rate, at most five times.
            Non-finite weights, after a non-finite gradient of a finite loss, are never evaluated or saved: the run
            stops or is rolled back.
        parts: Parts with image sizes of their own, see :class:`~motivation.utils.training_parts.TrainingParts`.

    Attributes:
        validation_due: Whether an epoch is over, but its validation is not.
        skipped: Number of batches without a step of the active model or, with distillation, of the base model: skipped
            with a non-finite loss, or with a gradient of the active model that overflows in precision ``'fp16'``.
        last_step: The record of the last batch, complete before ``after_train_iter``; ``None`` before the first batch
            of this process.

    Raises:
        ConfigError: An argument is invalid.

    Example:
        >>> train_cfg = dict(max_epochs=100, on_bad_loss='skip')
    """

    @checked
    def __init__(
        self,
        runner: Runner,
        dataloader: Any,
        max_epochs: Count,
        val_begin: Count = 1,
        val_interval: Count = 1,
        on_bad_loss: Literal['stop', 'skip', 'rollback'] = 'stop',
        parts: Annotated[list[dict[str, Any]], Written('[dict(share=0.5, image_size=16), dict(share=0.5)]')]
        | None = None,
    ) -> None:
        self.parts = TrainingParts(parts)
        loader = build_data_loader(
            runner, dataloader, 'train_dataloader', lambda dataset: SeededDataset(dataset, (runner.seed, runner.rank))
        )
        super().__init__(runner, loader, max_epochs, val_begin, val_interval)
        self.on_bad_loss = on_bad_loss
        self.validation_due = False
        self.skipped = self.rollbacks = 0
        self._skipped_in_a_row = 0
        # Batches done when the epoch began; in a resumed run, earlier epochs may have had another length.
        self._epoch_begin = 0
        self._batches = EpochBatches(self.dataloader, runner.announce)
        self.last_step: StepRecord | None = None
        self._last_losses: deque[float] = deque(maxlen=_SHOWN_LOSSES)
        # When the last batch ended, or the epoch began.
        self._ended = 0.0

    def run(self) -> torch.nn.Module:
        """Train from the current batch to the end of the run."""
        self._exchange = exchange_of(self.runner.optim_wrapper)
        check_micro_batches(self.runner, self.dataloader)
        evaluation = len(self.runner.val_dataloader) if self.runner.val_loop is not None else 0
        self._bounds = history_bounds(self.runner.log_processor, len(self.dataloader), evaluation)
        self.runner.call_hook('before_train')
        self._batches.prepare()
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
        self._ended = time.perf_counter()
        for batch_idx, data_batch in enumerate(self._batches.after(done, self._epoch + 1), done):
            is_first = self.last_step is None
            self.run_iter(batch_idx, self.parts.fit(data_batch, self._iter, self._max_iters))
            if is_first:
                self.runner.keep_work_dir()
            self.runner.call_hook('between_iters')
            if self._is_interrupted(is_last=batch_idx + 1 == len(self.dataloader)):
                self._end()
        check_weights(self.runner.model)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self._epoch_begin = self._iter
        self.validation_due = self._is_validated(self._epoch)

    def run_iter(self, batch_idx: int, data_batch: Any) -> None:
        """Train on one batch."""
        self.runner.call_hook('before_train_iter', batch_idx=batch_idx, data_batch=data_batch)
        outputs = self._train_step(data_batch)
        self.runner.call_hook('after_train_iter', batch_idx=batch_idx, data_batch=data_batch, outputs=outputs)
        self._bounds.apply(self.runner.message_hub)
        self._iter += 1

    def _train_step(self, data_batch: Any) -> dict[str, Any]:
        """Train the active model on a batch, and complete the batch's record.

        Returns:
            The values that the model logs, with losses as numbers.
        """
        model, active, bad_loss = self.runner.model, self.runner.model.active, None
        names, skipped = MODEL_NAMES if self.on_bad_loss == 'skip' else (), self.skipped
        statistics = {name: [buffer.clone() for buffer in getattr(model, name).buffers()] for name in names}
        self._exchange.begin(data_batch, lambda: self.runner.interruption.signal is not None)
        try:
            outputs = model.train_step(data_batch, optim_wrapper=self.runner.optim_wrapper)
            self._exchange.check_step(active, self.runner.optim_wrapper[active])
        except ValueError as error:
            alone = left_alone(data_batch, error)
            if alone is None:
                raise
            raise alone from error
        except NonFiniteError as bad:
            if self.on_bad_loss != 'skip':
                raise
            self._skip(bad, active)
            for buffer, value in zip(getattr(model, bad.model).buffers(), statistics[bad.model], strict=True):
                buffer.copy_(value)
            outputs = {'motivated': float(active == 'motivated')}
            if bad.model == active:
                bad_loss = bad.loss
            else:  # the motivated model has stepped, and only the base model's distillation step is skipped
                outputs['distillation_loss'] = bad.loss
                model.transfer()  # shared statistics, too
        now = time.perf_counter()
        self.last_step = self._exchange.complete(active, outputs, now - self._ended, bad_loss)
        self._ended = now
        if self.last_step.finite:
            self._last_losses.append(self.last_step.loss)
        if self.skipped == skipped and self.last_step.stepped:
            self._skipped_in_a_row = 0
        if self.last_step.stepped:
            model.average()  # before the policy decides; no hook is needed for a run to have what it was asked for
        elif self.last_step.finite:
            self._note_overflow(active)
        return outputs

    def _is_interrupted(self, is_last: bool) -> bool:
        """Return whether a signal has asked to stop; several processes agree on it in the exchange of each batch."""
        if get_world_size() == 1 or is_last:
            return self.runner.interruption.asked()
        return self.last_step is not None and self.last_step.stop_requested

    def _is_validated(self, epoch: int) -> bool:
        if self.runner.val_loop is None or epoch < self.val_begin:
            return False
        return epoch % self.val_interval == 0 or epoch == self._max_epochs or self.stop_training

    def _validate(self) -> None:
        try:
            self.runner.val_loop.run()
        except ValidationInterruptedError:
            self._end()
        except UnknownMetricError:  # save the epoch; a resumed run validates it again
            self.runner.call_hook('before_interruption')
            raise
        self.validation_due = False
        if self.runner.interruption.asked():
            self.runner.call_hook('after_epoch')
            self._end()

    def _end(self) -> None:
        """Save a checkpoint and stop, because a signal asked for it."""
        self.runner.call_hook('before_interruption')
        raise Interrupted(self.runner.interruption.exit_status)

    def _skip(self, bad: NonFiniteError, active: ModelName) -> None:
        self.skipped += 1
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row > MAX_SKIPPED_IN_A_ROW:
            raise too_many_skipped(self._describe(bad), self._skipped_in_a_row, Path(self.runner.work_dir)) from bad
        what = 'the batch' if bad.model == active else 'its distillation step'
        self.runner.announce(f'{self._describe(bad)}; {what} is skipped')

    def _note_overflow(self, model: ModelName) -> None:
        """Count a step that was not taken because its gradients overflow in fp16."""
        self.skipped += 1
        self._skipped_in_a_row += 1
        place = f'the gradients of the {model} model overflow in fp16 at iteration {self._iter + 1}'
        self.runner.logger.info(f'{place}; the step is skipped, and the scale of the loss halved')
        if self._skipped_in_a_row > MAX_OVERFLOWS_IN_A_ROW:
            raise too_many_overflows(place, self._skipped_in_a_row)

    def _stop_or_roll_back(self, bad: NonFiniteError) -> None:
        problem = self._describe(bad)
        if self.on_bad_loss != 'rollback':
            raise TrainingError(f'{problem}; {ways_out(bad, Path(self.runner.work_dir))}') from bad
        checkpoint, _ = newest_whole(find_checkpoints(Path(self.runner.work_dir)))
        if checkpoint is None or self.rollbacks == MAX_ROLLBACKS:
            reason = f'{MAX_ROLLBACKS} rollbacks did not help' if checkpoint else 'there is no checkpoint to go back to'
            raise TrainingError(f'{problem}; {reason}: begin with a lower optim_wrapper.optimizer.lr') from bad
        self.rollbacks += 1
        self.runner.roll_back(checkpoint)
        self.runner.announce(
            f"{problem}; back to '{checkpoint.name}', with {ROLLBACK_FACTOR:g} of the learning rate, now "
            f'{self._rate(bad.model):.4g}'
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the run, the counts of skips and rollbacks, and the last losses."""
        place: dict[str, Any] = {'epoch': self._epoch, 'iter': self._iter, 'epoch_begin': self._epoch_begin}
        place |= {'epoch_length': len(self.dataloader), 'last_losses': list(self._last_losses)}
        return {field: getattr(self, field) for field in _STATE} | place

    @property
    def epoch_of_next_batch(self) -> int:
        """The epoch, from 0, of the batch after the one being trained on."""
        return self._epoch + (self._iter + 1 - self._epoch_begin >= len(self.dataloader))

    @property
    def is_within_epoch(self) -> bool:
        """Whether the current epoch has begun and is not over."""
        return self._iter != self._epoch_begin

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
        length = len(self.dataloader)
        self._epoch, self._iter = state['epoch'], state['iter']
        self._epoch_begin = state['epoch_begin']
        self._max_iters = self._epoch_begin + (self._max_epochs - self._epoch) * length
        self._last_losses = deque(state['last_losses'], maxlen=_SHOWN_LOSSES)
        for field in _STATE:
            setattr(self, field, state[field])

    def _describe(self, bad: NonFiniteError) -> str:
        iteration = self._iter + 1 if bad.loss is not None else self._iter  # weights are checked after the iteration
        batch, epoch = iteration - self._epoch_begin, self._epoch + 1
        if batch == 0:
            batch, epoch = len(self.dataloader), self._epoch
        place = f'batch {batch} of epoch {epoch} (iteration {iteration})'
        return describe(bad, place, self._rate(bad.model), self._last_losses)

    def _rate(self, model: ModelName) -> float:
        """Return the learning rate of a model's first parameter group."""
        return self.runner.optim_wrapper[model].get_lr()['lr'][0]
