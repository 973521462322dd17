"""The hook that reports unusable images and invalid labels during a run."""

from collections.abc import Mapping
from itertools import chain, islice
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from motivation.datasets import check_labels, class_names
from motivation.engine.checks.data_checks import check_scale
from motivation.engine.optim.step import left_out
from motivation.registry import HOOKS
from motivation.utils.batches import noun_of
from motivation.utils.distributed import sum_over_processes


@HOOKS.register_module()
class BadDataHook(Hook):
    """Warns about and counts skipped images, and raises an error on labels that are not class indices.

    Each skipped image is named once, in a warning; the report has the counts. Labels are checked before they reach
    the device. In the first batch of each stage, the value range of the images is checked as well
    (:func:`~motivation.engine.checks.data_checks.check_scale`).

    Attributes:
        skipped: How often each image was skipped, by stage (``'train'``, ``'val'``, ``'test'``) and image name.

    Example:
        >>> default_hooks = dict(bad_data=dict(type='BadDataHook'))
    """

    def __init__(self) -> None:
        self.skipped: dict[str, dict[str, int]] = {'train': {}, 'val': {}, 'test': {}}
        self._seen: set[str] = set()  # stages whose first batch has been checked
        self._skipped: list[tuple[str, str]] = []  # in this process, not counted yet

    def _before_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, mode: str = 'train') -> None:
        if mode not in self._seen:
            self._seen.add(mode)
            check_scale(runner, data_batch, mode)
        loader = getattr(runner, f'{mode}_dataloader')
        classes = class_names(loader.dataset)
        num_classes = len(classes) if classes else getattr(runner.model.base, 'num_classes', None)
        labels = getattr(data_batch, 'labels', None)
        if labels is None and isinstance(data_batch, Mapping):
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
        # Not after every validation batch, because processes may have different numbers of them.
        if mode != 'train' and sum_over_processes(len(self._skipped)):
            self._count(runner, mode)

    def _count(self, runner: Runner, mode: str) -> None:
        """Count the images that all processes have skipped since the last call."""
        for image, problem in chain.from_iterable(all_gather_object(self._skipped)):
            if image not in self.skipped[mode]:
                runner.logger.warning(f'{mode}_dataloader leaves out {image}, which {problem}')
            self.skipped[mode][image] = self.skipped[mode].get(image, 0) + 1
        self._skipped = []

    def state_dict(self) -> dict[str, Any]:
        """Return the counts of skipped images."""
        return {'skipped': self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
        self.skipped = state_dict['skipped']

    def on_report(self, runner: Runner, report: dict[str, Any]) -> None:
        """Add the number of skipped images and of skips, by stage, if there are any."""
        skipped = {
            stage: {'images': len(times), 'times': sum(times.values())}
            for stage, times in self.skipped.items()
            if times
        }
        if skipped:
            report['skipped'] = skipped


def _name(loader: Any, noun: str, batch_idx: int, place: int, labels: Tensor) -> str:
    """Return the name of a sample: its index in the dataset if the sampler draws it again, else its place in the batch."""
    index: list[int] = next(islice(loader.batch_sampler, batch_idx, None), [])[place : place + 1]
    if index and int(loader.dataset[index[0]].get('targets', -1)) == labels[place]:
        return f'{noun} {index[0]}'
    return f'{noun} {place} of batch {batch_idx}'
