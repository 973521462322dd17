"""The hook that writes what each model says of each validation image."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from motivation.datasets import class_names, stream_of
from motivation.evaluation.predictions import PredictionCollector, Predictions
from motivation.registry import HOOKS
from motivation.report.class_results import add_class_results
from motivation.report.prediction_files import write_predictions
from motivation.structures import MODEL_NAMES
from motivation.utils.arguments import checked
from motivation.utils.files import write_whole
from motivation.utils.random_state import preserved_random_state

# Pictures that a run or a test draws if there is something to draw; others of these names are removed.
_PICTURES = frozenset({'confusions.png', 'disagreements.png'})


@HOOKS.register_module()
class PredictionsHook(Hook):
    """Writes ``predictions.csv``, what each model says of each validation image, and adds single classes to the report.

    All is of the predictions of the last validation, from which the metrics are computed as well; no model runs again.
    ``report.md`` shows the results of single classes and the worst confusions of each model. In a test the files are
    those of the test images.

    Args:
        pictures: Whether to draw ``disagreements.png``, images that only one of the two models gets right, if there are
            any, and ``confusions.png``, which takes about a second. Default: ``True``.

    Example:
        >>> default_hooks = dict(predictions=dict(type='PredictionsHook'))
    """

    priority = 'VERY_LOW'

    @checked
    def __init__(self, pictures: bool = True) -> None:
        self.pictures = pictures
        self._collector = PredictionCollector()
        self._last: Predictions | None = None  # of the first process
        self._unsuitable = ''

    def before_val_epoch(self, runner: Runner) -> None:
        self._collector = PredictionCollector()

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self._unsuitable:
            return
        try:
            self._collector.add(outputs, data_batch)
        except TypeError as error:
            self._unsuitable = str(error)
            runner.logger.info(f'predictions.csv is not written: {error}')

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if not self._unsuitable:
            self._last = self._collector.gather(len(runner.val_dataloader.dataset))
        self._collector = PredictionCollector()

    def before_test_epoch(self, runner: Runner) -> None:
        self.before_val_epoch(runner)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.after_val_iter(runner, batch_idx, data_batch, outputs)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        predictions = None if self._unsuitable else self._collector.gather(len(runner.test_dataloader.dataset))
        self._collector = PredictionCollector()
        if predictions is not None and runner.rank == 0:
            self._write(runner, predictions, runner.test_dataloader.dataset)

    def after_train(self, runner: Runner) -> None:
        if self._last is not None and runner.rank == 0:
            self._write(runner, self._last, runner.val_dataloader.dataset)

    def on_report(self, runner: Runner, report: dict[str, Any]) -> None:
        """Add the results of single classes and the worst confusions."""
        if self._last is not None:
            add_class_results(report, self._last, _classes(runner.val_dataloader.dataset, self._last))

    def state_dict(self) -> dict[str, Any]:
        """Return the predictions of the last validation, which are written at the end."""
        return {'last': None if self._last is None else self._last.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
        last = state_dict['last']
        self._last = None if last is None else Predictions.from_state_dict(last)

    def _write(self, runner: Runner, predictions: Predictions, dataset: Any) -> None:
        classes, folder = _classes(dataset, predictions), Path(runner.work_dir)
        files = {'predictions.csv': partial(write_predictions, predictions, classes)}
        if self.pictures:
            # Imported here because matplotlib takes half a second, which a run needs only at its end.
            from motivation.report.prediction_pictures import draw_confusions, draw_disagreements, only_one_right

            if not predictions.several_labels and len(classes) > 1:
                files['confusions.png'] = partial(draw_confusions, predictions, classes)
            is_drawable = stream_of(dataset) is None and bool((predictions.indices >= 0).all())
            is_drawable = is_drawable and predictions.predicted.keys() >= {*MODEL_NAMES}
            if is_drawable and any(len(only_one_right(predictions, model)) for model in MODEL_NAMES):
                load = partial(_load, dataset)
                files['disagreements.png'] = partial(draw_disagreements, predictions, classes, load)
            for name in _PICTURES - files.keys():  # of another run, or of a validation before
                (folder / name).unlink(missing_ok=True)
        for name, write in files.items():
            path = folder / name
            if runner.trains:
                runner.unwritten.try_to_write(path, partial(write_whole, path, write))
            else:
                write_whole(path, write)


def _classes(dataset: Any, predictions: Predictions) -> list[str]:
    """Return the names of the classes, or their indices where the data set has no names."""
    named = class_names(dataset)
    if named is not None:
        return [str(name) for name in named]
    if predictions.several_labels:
        return [str(place) for place in range(predictions.targets.shape[1])]
    values = [predictions.targets, *predictions.predicted.values()]
    return [str(place) for place in range(1 + max(int(value.max()) for value in values))]


def _load(dataset: Any, index: int) -> Tensor | None:
    """Return an image as the data set gives it, or ``None`` if there is none of that index."""
    with preserved_random_state(), torch.no_grad():
        image = dataset[index].get('inputs')
    return image if isinstance(image, Tensor) and image.ndim == 3 else None
