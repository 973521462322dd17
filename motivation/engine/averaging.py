"""Support for MMEngine's EMAHook, which swaps averaged weights into both models for an evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.hooks import EMAHook


def find_averaging_hooks(runner: Any) -> list[EMAHook]:
    """Return the hooks of a run that average weights."""
    return [hook for hook in runner.hooks if isinstance(hook, EMAHook)]


@contextmanager
def averaged(runner: Any) -> Iterator[None]:
    """Use the averaged weights in both models within the context, if a run has any."""
    for hook in find_averaging_hooks(runner):
        hook.before_val_epoch(runner)
    try:
        yield
    finally:
        end_averaging(runner)


def end_averaging(runner: Any) -> None:
    """Restore the training weights of both models, as at the end of a validation."""
    for hook in reversed(find_averaging_hooks(runner)):
        hook.after_val_epoch(runner)


def note_active_model(runner: Any) -> None:
    """Set the active model in the averaged models, because the EMAHook saves them as the weights of a checkpoint."""
    for hook in find_averaging_hooks(runner):
        hook.ema_model.module.set_extra_state(runner.model.get_extra_state())
