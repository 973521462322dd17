"""The signals that a switch policy can ask for besides the loss."""

from collections.abc import Callable, Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.runner import Runner

from motivation.compute.macs import ModelMacs
from motivation.datasets import stream_of
from motivation.engine.gradient_agreement import GradientAgreement
from motivation.engine.held_in_loss import HeldInLoss
from motivation.engine.optim.exchanging import exchange_of
from motivation.engine.sample_history import SampleHistory
from motivation.errors import ConfigError, near_matches
from motivation.hooks.compute_meter_hook import ComputeMeterHook, require_meter, training_sample
from motivation.hooks.watched_logits import watch_accuracy, watch_sample_losses
from motivation.policies import Compute
from motivation.structures import ModelName, StepRecord
from motivation.utils.training_parts import resized

SIGNALS = {
    'accuracy': "the active model's training accuracy on the batch, 0 to 1",
    'grad_norm': "L2 norm of the active model's gradient before clipping; infinite if a loss scaler skipped the step",
    'sample_progress': "mean decrease of the loss of the batch's images since each was last seen, or None if none was",
    'held_in_loss': "the base model's loss on fixed training images, of the weights before the batch; None if not due",
    'grad_agreement': 'cosine of the gradients of the batch and the one before, over what both models share, or None',
    'iter': 'batches done, this one included: the index of the next batch, from 0',
    'max_iters': 'batches of the whole run',
    'progress': 'iter / max_iters, above 0 and at most 1',
    'epoch': 'epoch of the next batch, from 0',
    'metrics': 'results of a validation since the last batch, such as base/accuracy/top1, or None',
    'compute': 'training FLOPs spent, left and per batch: motivation.policies.Compute',
}


class Signals:
    """Computes the signals that a policy asks for, and no others.

    Args:
        runner: The run.
        names: Names of the signals, of :data:`SIGNALS`.
        options: Options of some, by name: those of :class:`~motivation.engine.held_in_loss.HeldInLoss`.

    Attributes:
        metrics: Results of a validation that the policy has not received yet, or ``None``.

    Raises:
        ConfigError: A signal does not exist, or is not available in this run.
    """

    def __init__(self, runner: Runner, names: frozenset[str], options: Mapping[str, Mapping[str, Any]]) -> None:
        for name in sorted(names - SIGNALS.keys()):
            raise ConfigError(
                f'motivation.policy asks for {name!r}, which is not a signal; {near_matches(name, SIGNALS)}'
            )
        if 'metrics' in names and runner.val_loop is None:
            raise ConfigError(
                "motivation.policy asks for 'metrics', but this run has no validation; give the config val_dataloader, "
                'val_cfg and val_evaluator, or choose another policy'
            )
        readers: dict[str, Callable[[StepRecord], Any]] = {
            'accuracy': lambda step: step.accuracy,
            'grad_norm': lambda step: step.grad_norm,
            'held_in_loss': lambda step: step.measured.get('held_in_loss'),
            'grad_agreement': lambda step: step.measured.get('grad_agreement'),
            'iter': lambda step: runner.iter + 1,
            'max_iters': lambda step: runner.max_iters,
            'progress': lambda step: (runner.iter + 1) / runner.max_iters,
            'epoch': lambda step: runner.train_loop.epoch_of_next_batch,
            'metrics': lambda step: self._take_metrics(),
        }
        if 'accuracy' in names:
            exchange_of(runner.optim_wrapper).ask_for(watch_accuracy(runner))
        if 'grad_norm' in names:
            exchange_of(runner.optim_wrapper).ask_for_grad_norm()
        held_in: HeldInLoss | None = None
        if 'held_in_loss' in names:
            held_in = HeldInLoss(runner, **options.get('held_in_loss', {}))
            exchange_of(runner.optim_wrapper).ask_for(held_in.measure)
        if 'grad_agreement' in names:
            agreement = GradientAgreement(runner.model)
            exchange_of(runner.optim_wrapper).ask_for(agreement.measure)
            runner.checkpointer.register('grad_agreement', agreement)
        if 'compute' in names:
            readers['compute'] = _watch_compute(runner, held_in)
        if 'sample_progress' in names:
            readers['sample_progress'] = _watch_progress(runner)
        self._readers = {name: readers[name] for name in sorted(names)}
        self.metrics: dict[str, float] | None = None

    def read(self, step: StepRecord) -> dict[str, Any]:
        """Return the signals of the batch just trained on, by name."""
        return {name: reader(step) for name, reader in self._readers.items()}

    def _take_metrics(self) -> dict[str, float] | None:
        metrics, self.metrics = self.metrics, None
        return metrics


def _watch_progress(runner: Runner) -> Callable[[StepRecord], float | None]:
    """Return a function of the mean decrease of the losses of a batch's samples since each was last seen."""
    loader, signal = runner.train_dataloader, 'sample_progress'
    if get_world_size() > 1 and not loader.batch_size:
        raise ConfigError(
            f'motivation.policy asks for {signal!r}, which needs train_dataloader.batch_size with several processes; give it '
            'instead of batch_sampler, or choose another policy'
        )
    if stream_of(loader.dataset) is not None:
        raise ConfigError(
            f'motivation.policy asks for {signal!r}, which needs to know each image again, and train_dataloader.dataset is read '
            'as a stream; give in_memory=True or another data set, or choose another policy'
        )
    exchange_of(runner.optim_wrapper).ask_for_sample_losses(watch_sample_losses(runner, signal), loader.batch_size or 0)
    history = SampleHistory(len(loader.dataset))
    runner.checkpointer.register('sample_history', history)

    def read(step: StepRecord) -> float | None:
        assert step.sample_losses is not None
        return history.update(step.sample_losses)

    return read


def _watch_compute(runner: Runner, held_in: HeldInLoss | None) -> Callable[[StepRecord], Compute]:
    require_meter(runner)
    loader, processes = runner.train_dataloader, get_world_size()
    images_per_epoch = min(len(loader.sampler), len(loader) * loader.batch_size) * processes
    distils = runner.model.distillation is not None
    batch_size, macs_of_parts = loader.batch_size * processes, _measure_parts(runner)

    def images_until(batches: int) -> int:
        epochs, further = divmod(batches, len(loader))
        return epochs * images_per_epoch + further * batch_size

    def read(step: StepRecord) -> Compute:
        done, total = runner.iter + 1, runner.max_iters
        ends = runner.train_loop.parts.ends(total)
        later = [
            (end - begin, images_until(end) - images_until(begin), macs)
            for begin, end, macs in zip(ends[:-1], ends[1:], macs_of_parts[1:], strict=True)
            if begin >= done
        ]
        times, held = (held_in.left(), held_in.images * processes) if held_in is not None else (0, 0)
        images = images_until(total)
        return require_meter(runner).forecast(total, images, batch_size, distils, times, held, later)

    return read


def _measure_parts(runner: Runner) -> list[Mapping[ModelName, ModelMacs]]:
    """Return the MACs of both models in each part of the training."""
    hook, parts = runner.find_hook(ComputeMeterHook), runner.train_loop.parts
    sample = training_sample(runner) if parts.resizes else None
    try:
        return [
            hook.meter.macs if sample is None else hook.measure_like(resized(sample, part.size)) for part in parts.parts
        ]
    except ConfigError as error:
        raise ConfigError(
            f"motivation.policy asks for 'compute', which is not counted: {error}; choose another policy"
        ) from error
