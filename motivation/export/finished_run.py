"""Reading a finished run: its config, its report, its exported models and its data, without a runner."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from motivation.config.build import build, build_dataset, located
from motivation.config.read import load_config
from motivation.datasets import DeviceImages, collate_of, init_worker, spread, stream_of
from motivation.datasets.spread_sampler import SpreadSampler
from motivation.errors import ConfigError
from motivation.export.image_description import dataset_argument
from motivation.registry import DATASETS, look_up
from motivation.structures import MODEL_NAMES
from motivation.utils.arguments import arguments_of

# Names of the files, without '.pth', that a run's ExportHook writes.
FILES = tuple(f'{best}{name}{ema}' for best, ema, name in product(('', 'best_'), ('', '_ema'), MODEL_NAMES))


@dataclass(frozen=True)
class FinishedRun:
    """A run that has ended, or the models of one of its checkpoints.

    Legend: N images, C channels, H x W pixels.

    Attributes:
        folder: Folder of the model files.
        config: The config that the run saved.
        models: Path of every exported model by the name of its file: ``'base'``, ``'motivated'`` and, where the run
            wrote them, ``'base_ema'``, ``'best_base'`` and so on.
        report: The content of ``report.json``; ``None`` if there is none.
        checkpoint: The ``epoch_<n>.pth`` that the models are of; ``None`` for those of the end of the run.
    """

    folder: Path
    config: Config
    models: dict[str, Path]
    report: dict[str, Any] | None = None
    checkpoint: Path | None = None
    _datasets: dict[str, Dataset] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, path: str | Path, options: Mapping[str, Any] | None = None) -> 'FinishedRun':
        """Open a run.

        Args:
            path: A work_dir, or one of the models exported into it (``base.pth``), which is then the only one.
            options: Values by dotted field name that override the config's, such as the place of data that have moved.

        Raises:
            ConfigError: There is no run, or its config or report cannot be read. Also for an ``epoch_<n>.pth``, whose
                models :func:`motivation.checkpoint_models.open_run` writes to files first.
        """
        path = Path(path)
        if not path.exists():
            raise ConfigError(f"'{path}' does not exist; give the work_dir of a run, or its base.pth or motivated.pth")
        folder = path if path.is_dir() else path.parent
        models = {name: folder / f'{name}.pth' for name in FILES if (folder / f'{name}.pth').is_file()}
        if path.is_file():
            if path.name not in {model.name for model in models.values()}:
                raise ConfigError(
                    f"'{path}' is not an exported model; give a work_dir, or its base.pth or motivated.pth"
                )
            models = {path.stem: path}
        if not models:
            raise ConfigError(
                f"'{folder}' has no base.pth or motivated.pth, which a run writes at its end; give a finished run or one of "
                'its epoch_<n>.pth'
            )
        return cls(folder, read_config(folder, options), models, _read_report(folder))

    @property
    def batch_size(self) -> int:
        """Number of images in a batch of validation."""
        return _batch_size(self._node('val'))

    def count_validation(self) -> int:
        """Return the number of images on which the run was validated."""
        return len(self._validated())

    def validation(self, count: int | None = None) -> Iterator[Mapping[str, Tensor]]:
        """Yield the validation data of the run, in order, with the transforms applied; unreadable images left out.

        Args:
            count: Number of images, spread over those on which the run was validated; ``None`` (default) for all.

        Yields:
            ``'inputs'``: (N, C, H, W), uint8 from 0 to 255 or float from 0 to 1; ``'targets'``: class indices, (N,).

        Raises:
            ConfigError: The run has no validation data, or they are gone.
        """
        node, dataset, indices = self._node('val'), self._dataset('val'), self._validated()
        if count is not None and count < len(indices):
            stream = stream_of(dataset)  # of which only some are quick to read
            spread_evenly = [indices[number * len(indices) // count] for number in range(count)]
            indices = spread_evenly if stream is None else stream.few(count)
        yield from _batches(dataset, indices, node)

    def training_images(self, count: int) -> Tensor:
        """Return images spread over the training data, transformed as for validation.

        Args:
            count: Number of images, or all if there are fewer.

        Returns:
            (N, C, H, W), uint8 from 0 to 255 or float from 0 to 1.

        Raises:
            ConfigError: The training data are gone.
        """
        node = self._node('train')
        transforms = dataset_argument(self._node('val')['dataset'], 'transforms')
        dataset = build(DATASETS, _with_transforms(node['dataset'], transforms or []), 'train_dataloader.dataset')
        batches = list(_batches(dataset, spread(dataset, count), node))
        return torch.cat([batch['inputs'] for batch in batches])

    def _node(self, stage: str) -> dict[str, Any]:
        """Return the config of a data loader; a run without validation has that of its test."""
        stages = (stage, 'test') if stage == 'val' else (stage,)
        node = next((node for node in (self.config.get(f'{name}_dataloader') for name in stages) if node), None)
        if node is None:
            raise ConfigError(
                f"'{self.folder}' has no {stage}_dataloader in its config, whose images are needed; give one with --cfg-options"
            )
        return node.to_dict()

    def _dataset(self, stage: str) -> Any:
        """Return the dataset of a data loader, built once."""
        if stage not in self._datasets:
            self._datasets[stage] = build_dataset(self._node(stage), f'{stage}_dataloader')
        return self._datasets[stage]

    def _validated(self) -> Sequence[int]:
        """Return the indices of the images on which the run was validated."""
        node, total = self._node('val'), len(self._dataset('val'))
        batches = node.get('num_batch_per_epoch')
        if batches is None:
            return range(total)
        with located('val_dataloader'):
            return list(SpreadSampler(range(total), batches, _batch_size(node)))


def read_config(folder: Path, options: Mapping[str, Any] | None = None) -> Config:
    """Return the config that a run saved in its work_dir: the newest, if it was resumed under several names.

    Raises:
        ConfigError: There is none, or it is not valid.
    """
    saved = sorted(folder.glob('*.py'), key=lambda path: path.stat().st_mtime)
    if not saved:
        raise ConfigError(f"'{folder}' has no <config>.py, which a run saves at its start; give the work_dir of a run")
    return load_config(str(saved[-1]), dict(options or {}))


def _read_report(folder: Path) -> dict[str, Any] | None:
    path = folder / 'report.json'
    if not path.is_file():
        return None
    try:
        report = json.loads(path.read_text())
    except ValueError as error:
        raise ConfigError(
            f"'{path}' is damaged ({error}); remove it, or --resume the run, which writes it again"
        ) from error
    return report if isinstance(report, dict) else None


def _batch_size(node: Mapping[str, Any]) -> int:
    return node.get('batch_size') or (node.get('batch_sampler') or {}).get('batch_size') or 1


def _with_transforms(config: Any, transforms: Sequence[Any]) -> Any:
    """Return the config of a dataset with other transforms of every dataset that it is made of."""
    if not isinstance(config, Mapping):
        return config
    if 'dataset' in config:
        return {**config, 'dataset': _with_transforms(config['dataset'], transforms)}
    if 'datasets' in config:
        return {**config, 'datasets': [_with_transforms(inner, transforms) for inner in config['datasets']]}
    component = look_up(DATASETS, config.get('type'))
    takes = callable(component) and 'transforms' in arguments_of(component)[0]
    return {**config, 'transforms': list(transforms)} if takes else config


def _batches(dataset: Any, indices: Sequence[int], node: Mapping[str, Any]) -> Iterator[Mapping[str, Tensor]]:
    """Yield batches of some samples of a dataset, on the CPU, as its data loader makes them."""
    alone = stream_of(dataset) is not None or isinstance(dataset, DeviceImages)  # of which each process would read all
    loader = DataLoader(
        Subset(dataset, indices),
        _batch_size(node),
        num_workers=0 if alone else node.get('num_workers', 0),
        collate_fn=collate_of(node),
        worker_init_fn=init_worker,
        generator=torch.Generator(),  # else torch draws a seed for workers from the run's
    )
    for batch in loader:
        yield {name: values.cpu() if isinstance(values, Tensor) else values for name, values in batch.items()}
