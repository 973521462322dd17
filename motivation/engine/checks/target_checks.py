"""The labels of a run's data and the losses of its models: whether they agree, and the class weights between them."""

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor, nn

from motivation.datasets import class_names
from motivation.datasets.samplers import BalancedSampler, WeightedSampler
from motivation.datasets.targets import labels_of
from motivation.errors import ArgumentError, ConfigError
from motivation.models.class_weights import ClassWeights
from motivation.registry import DATA_SAMPLERS, LOSSES, look_up
from motivation.structures import MODEL_NAMES

# The name in a checkpoint of the class weights that a run has counted.
PART = 'class_weights'


def check_targets(runner: Runner, stage: str, batch: Any) -> None:
    """Check that the labels of a data set are what the losses of both models take.

    Nothing is checked of a model without ``outputs``, or of data without ``'targets'``.

    Args:
        runner: The runner, with its models.
        stage: ``'train'``, ``'val'`` or ``'test'``.
        batch: A batch of its data.

    Raises:
        ConfigError: The one has several labels an image and the other one; names the field and the fix.
    """
    targets = batch.get('targets') if isinstance(batch, Mapping) else None
    if not isinstance(targets, Tensor):
        return
    several, data = targets.ndim == 2 and targets.is_floating_point(), f'{stage}_dataloader.dataset'
    models: dict[str, Any] = {name: getattr(runner.model, name) for name in MODEL_NAMES}
    outputs = {name: getattr(model, 'outputs', None) for name, model in models.items()}
    unfit = [name for name in MODEL_NAMES if outputs[name] == ('softmax' if several else 'sigmoid')]
    if unfit:
        places = ' and '.join(f'model.{name}.loss' for name in unfit)
        kinds = ' and '.join(dict.fromkeys(type(getattr(models[name], 'loss', None)).__name__ for name in unfit))
        where = f' in {"both models" if len(unfit) > 1 else f"model.{unfit[0]}"}'
        told = 'are' if len(unfit) > 1 else 'is'
        if several:
            raise ConfigError(
                f"{places} {told} {kinds}, for one label an image, and {data} gives several; write loss=dict(type='"
                f"MultiLabelLoss'){where}, or another for several: {_of_kind(True)}"
            )
        raise ConfigError(
            f"{places} {told} {kinds}, for several labels an image, and {data} gives one; write loss=dict(type='"
            f"BinaryCrossEntropyLoss'){where}, or give a data set with several; for one are {_of_kind(False)}"
        )
    for name, model in models.items():
        if outputs[name] == 'sigmoid' and targets.shape[1] != model.num_classes:
            raise ConfigError(
                f'model.{name}.num_classes is {model.num_classes}, and {data} gives labels of {targets.shape[1]} classes; make '
                'them agree'
            )


def _warn_of_balanced_twice(runner: Runner, field: str) -> None:
    """Warn of a sampler that already balances the classes whose weights are counted."""
    sampler = runner.cfg.train_dataloader.get('sampler')
    name = sampler.get('type') if isinstance(sampler, Mapping) else sampler
    kind = look_up(DATA_SAMPLERS, name) if isinstance(name, (str, type)) else type(name)
    if kind is BalancedSampler or (kind is WeightedSampler and (sampler or {}).get('class_weights') is not None):
        print_log(
            f"{field} is 'auto', and train_dataloader.sampler is {kind.__name__}: both correct for rare classes, which counts "
            'them twice; leave one of them out',
            'current',
            logging.WARNING,
        )


def _of_kind(several: bool) -> str:
    """Return the names of the registered losses for several labels an image, or for one."""
    kinds = LOSSES.module_dict.items()
    return ', '.join(sorted(name for name, kind in kinds if getattr(kind, 'several_labels', False) == several))


class CountedWeights:
    """The class weights that a run counts in its training data, for ``'auto'``.

    A checkpoint holds them, so that a resumed run goes on with the same.

    Args:
        runner: The runner, with its models.
    """

    def __init__(self, runner: Runner) -> None:
        losses = {name: getattr(getattr(runner.model, name), 'loss', None) for name in MODEL_NAMES}
        self._parts = {
            f'{name}.loss.{part.argument}': part
            for name, loss in losses.items()
            if isinstance(loss, nn.Module)
            for part in loss.modules()
            if isinstance(part, ClassWeights) and part.is_auto
        }

    def count(self, runner: Runner, dataset: Any) -> None:
        """Count the weights, and register them with the checkpointer; does nothing if none is ``'auto'``.

        Args:
            runner: The runner.
            dataset: The training data.

        Raises:
            ConfigError: The labels are not known before the samples are read, or do not give each class a weight.
        """
        if not self._parts:
            return
        first = next(iter(self._parts))
        _warn_of_balanced_twice(runner, f'model.{first}')
        try:
            labels = labels_of(dataset)
        except ConfigError as error:
            raise ConfigError(f"model.{first} is 'auto', and {error}; or give a number for each class") from error
        device = next(runner.model.parameters()).device
        for path, part in self._parts.items():
            try:
                part.fit(labels, class_names(dataset))
            except ArgumentError as error:
                raise ConfigError(f'model.{path} {error.problem}') from error
            values: Any = part.to(device).values
            runner.logger.info(f'model.{path} of the training data: {[float(f"{value:.4g}") for value in values]}')
        runner.checkpointer.register(PART, self)

    def state_dict(self) -> dict[str, Any]:
        """Return the weights, (K,) each, by the path of their argument."""
        return {path: part.values for path, part in self._parts.items()}

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Restore the weights; those that the state lacks stay as they were counted."""
        for path, part in self._parts.items():
            if path in state_dict and part.values is not None:
                part.values = state_dict[path].to(part.values)
