"""The loop of ``--check``, which checks whether a config trains."""

from pathlib import Path
from typing import Any

import torch
from mmengine.runner import Runner

from motivation.engine.checks.data_checks import look_over
from motivation.engine.optim.exchanging import exchange_of
from motivation.engine.optim.non_finite import NonFiniteError
from motivation.engine.seen_images import draw_seen
from motivation.engine.train_loop import DualTrainLoop
from motivation.errors import ConfigError, TrainingError
from motivation.registry import LOOPS
from motivation.utils.batches import noun_of, samples_in
from motivation.utils.training_parts import resized


@LOOPS.register_module()
class CheckLoop(DualTrainLoop):
    """Checks a run instead of training: data, one training batch per model, both transfers and a validation batch.

    Before that it calls ``on_check`` of every hook that has it, which raises an error if it finds a problem.

    Args:
        runner: See :class:`~motivation.engine.DualTrainLoop`.
        dataloader: See :class:`~motivation.engine.DualTrainLoop`.
        picture: PNG file for the images of the training batch as the models see them; ``None`` (default) for none.
        **kwargs: See :class:`~motivation.engine.DualTrainLoop`.

    Example:
        >>> train_cfg = dict(type='CheckLoop', max_epochs=1)
    """

    is_trial = True

    def __init__(self, runner: Runner, dataloader: Any, picture: str | None = None, **kwargs: Any) -> None:
        super().__init__(runner, dataloader, **kwargs)
        self.picture = picture

    def run(self) -> torch.nn.Module:
        """Run the checks; the only lasting change is to the weights."""
        runner, model = self.runner, self.runner.model
        batch = next(iter(self.dataloader))
        runner.call_hook('on_check', data_batch=batch)
        runner.call_hook('before_train')
        look_over(runner, 'train', self.dataloader)
        if runner.val_loop is not None:
            look_over(runner, 'val', runner.val_dataloader)
        if self.picture is not None and runner.rank == 0:
            self._draw(resized(batch, self.parts.parts[0].size))
        model.train()
        sizes = dict.fromkeys(part.size for part in self.parts.parts)
        for name, switch in (('base', model.activate), ('motivated', model.deactivate)):
            for size in sizes:
                self._train_on(resized(batch, size), name, '' if size is None else f' of {size[0]} x {size[1]} pixels')
            switch()
        runner.announce(f'{len(model.weight_map.pairs)} tensors transferred both ways')
        if runner.val_loop is not None:
            model.eval()
            model.val_step(next(iter(runner.val_dataloader)))
            runner.announce('both models predicted a batch of the validation data')
        return model

    def _draw(self, batch: Any) -> None:
        assert self.picture is not None
        if noun_of(batch) != 'image':
            raise ConfigError(f'--picture {self.picture!r} cannot be drawn of {noun_of(batch)}s; leave it out')
        draw_seen(self.runner, batch, Path(self.picture))
        self.runner.announce(f"a training batch as the models see it is drawn in '{self.picture}'")

    def _train_on(self, batch: Any, name: str, of_size: str) -> None:
        """Train a model on a batch, and announce its loss."""
        exchange_of(self.runner.optim_wrapper).begin(batch, bool)
        try:
            loss = torch.as_tensor(self.runner.model.train_step(batch, self.runner.optim_wrapper)['loss']).item()
        except NonFiniteError as bad:
            raise TrainingError(
                f'the loss of the {bad.model} model is {bad.loss} on the first batch; look at model.{bad.model}, its '
                f'mean and std and the {noun_of(batch)}s of train_dataloader.dataset'
            ) from bad
        self.runner.announce(
            f'{name} trained on a batch of {samples_in(batch)} {noun_of(batch)}s{of_size}: loss {loss:.4f}'
        )
