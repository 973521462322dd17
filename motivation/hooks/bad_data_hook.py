"""Says what is wrong with the data while a run goes over it."""

from itertools import chain, islice
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from motivation.datasets import check_labels, class_names
from motivation.engine.data_checks import check_scale
from motivation.engine.step import left_out
from motivation.registry import HOOKS
from motivation.utils.batches import noun_of
from motivation.utils.distributed import sum_over_processes


@HOOKS.register_module()
class BadDataHook(Hook):
    """Names and counts the images that a dataset leaves out, and refuses labels that are no class.

    Each image is named once, in a warning; how often images were left out is in the report. The labels
    are looked at before they reach the device. Of the first batch of each stage, so is the scale of the
    images, which is refused where it is not the one that the models take them to have.

    Attributes:
        skipped: For each stage (``'train'``, ``'val'``, ``'test'``), by the name of the image, how often
            it was left out of a batch.

    Example:
        >>> default_hooks = dict(bad_data=dict(type='BadDataHook'))
    """

    def __init__(self) -> None:
        self.skipped: dict[str, dict[str, int]] = {'train': {}, 'val': {}, 'test': {}}
        self._seen: set[str] = set()  # stages whose first batch this process has had
        self._skipped: list[tuple[str, str]] = []  # by this process, not counted yet

    def _before_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, mode: str = 'train') -> None:
        if mode not in self._seen:
            self._seen.add(mode)
            check_scale(runner, data_batch, mode)
        loader = getattr(runner, f'{mode}_dataloader')
        classes = class_names(loader.dataset)
        num_classes = len(classes) if classes else getattr(runner.model.base, 'num_classes', None)
        labels = data_batch.get('targets')
        if num_classes is None or not isinstance(labels, Tensor) or labels.ndim != 1 or labels.is_floating_point():
            return
        numbers = (labels if labels.is_cpu else labels.cpu()).numpy()  # in host memory: no wait
        if numbers.min() < 0 or numbers.max() >= num_classes:
            check_labels(
                labels.tolist(), num_classes, lambda place: _name(loader, noun_of(data_batch), batch_idx, place, labels)
            )

    def _after_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None, mode: str = 'train'
    ) -> None:
        self._skipped += left_out(data_batch)
        if mode == 'train' and runner.last_step.left_out:
            self._count(runner, mode)

    def _after_epoch(self, runner: Runner, mode: str = 'train') -> None:
        # Not after each batch of validation, of which processes may have different numbers.
        if mode != 'train' and sum_over_processes(len(self._skipped)):
            self._count(runner, mode)

    def _count(self, runner: Runner, mode: str) -> None:
        """Count what all processes have left out since the last time."""
        for image, problem in chain.from_iterable(all_gather_object(self._skipped)):
            if image not in self.skipped[mode]:
                runner.logger.warning(f'{mode}_dataloader leaves out {image}, which {problem}')
            self.skipped[mode][image] = self.skipped[mode].get(image, 0) + 1
        self._skipped = []

    def state_dict(self) -> dict[str, Any]:
        """Return the images left out so far."""
        return {'skipped': self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.skipped = state_dict['skipped']

    def on_report(self, runner: Runner, report: dict[str, Any]) -> None:
        """Add the number of images left out by stage, and how often they were, if any."""
        skipped = {
            stage: {'images': len(times), 'times': sum(times.values())}
            for stage, times in self.skipped.items()
            if times
        }
        if skipped:
            report['skipped'] = skipped


def _name(loader: Any, noun: str, batch_idx: int, place: int, labels: Tensor) -> str:
    """What an image of a batch is called: its number in the dataset, if the sampler draws it again."""
    index: list[int] = next(islice(loader.batch_sampler, batch_idx, None), [])[place : place + 1]
    if index and int(loader.dataset[index[0]].get('targets', -1)) == labels[place]:
        return f'{noun} {index[0]}'
    return f'{noun} {place} of batch {batch_idx}'
