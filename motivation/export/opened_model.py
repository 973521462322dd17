"""Opening a trained model in whichever form it is deployed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motivation.errors import ConfigError, near_matches, reason
from motivation.export.deployable import Deployable, as_uint8
from motivation.export.description import read_description
from motivation.export.exporter import Exporter
from motivation.export.formats import all_formats
from motivation.export.measure import load
from motivation.export.origin import DESCRIPTION
from motivation.export.parity_check import require_as_measured
from motivation.models.preprocessor import ImagePreprocessor
from motivation.structures import MODEL_NAMES

_FORMS = 'a .pth of a run, its work_dir, its folder "exported", a folder in that, or a file of one'


@dataclass(frozen=True)
class OpenedModel:
    """A trained model, with a function for its logits.

    Attributes:
        path: Its file.
        description: Description of its images and classes, see :func:`~motivation.models.exported_file.load_exported`.
        logits: Takes images after the transforms of validation, (N, C, H, W), uint8 from 0 to 255 or float from 0 to 1;
            returns logits, float32 (N, K), on the CPU.
    """

    path: Path
    description: dict[str, Any]
    logits: Callable[[Tensor], Tensor]

    @classmethod
    def open(cls, path: Path, device: str | None = None) -> 'OpenedModel':
        """Open the file of a model.

        Args:
            path: A ``.pth`` of a run, or a file of an exported folder.
            device: Device of a ``.pth``; ``None`` (default) for a GPU if there is one. Exported files run on the CPU.

        Raises:
            ConfigError: The file cannot be loaded, its format needs a package that is missing, its description is
                missing or invalid, it is not the file that was measured and accepted at its export, or there is no such
                device.
        """
        if path.suffix == '.pth':
            deployable = Deployable.load(path)
            return cls(path, deployable.metainfo, _of_deployable(deployable, _device(device)))
        if device not in (None, 'cpu'):
            raise ConfigError(f"--device is {device!r}, and '{path}' runs on the CPU; leave it out, or give a .pth")
        names = [name for name, exporter in all_formats().items() if _is_of(path, exporter)]
        if not names:
            raise ConfigError(f"'{path}' is no format that can be run; give {_FORMS}")
        description = read_description(path.with_name(DESCRIPTION))
        require_as_measured(path)
        return cls(path, description, _of_file(path, names[0], description))


def find_models(path: Path, models: Sequence[str] | None = None) -> dict[str, Path]:
    """Find the files of the models that a path stands for.

    A folder that holds several formats stands for the first of :data:`~motivation.export.formats.PREFERRED`.

    Args:
        path: The ``.pth`` of a model; a work_dir, or its folder ``exported``, for several models; a folder in that, or one
            of its files.
        models: Names of the models to take of several, such as ``'base_ema'``; ``None`` (default) for the base and the
            motivated model.

    Returns:
        The file of each model by its name.

    Raises:
        ConfigError: There is no such model.
    """
    if not path.exists():
        raise ConfigError(f"model '{path}' does not exist; give {_FORMS}")
    one = path if path.is_file() else _preferred(path)
    if one is not None:
        name = one.stem if one.suffix == '.pth' else one.absolute().parent.name
        if models and list(models) != [name]:
            raise ConfigError(
                f"--models is {' '.join(models)}, and '{path}' is one model; leave it out, or give a work_dir"
            )
        return {name: one}
    if not path.is_dir():
        raise ConfigError(f"model '{path}' is not a regular file; give {_FORMS}")
    found = {file.stem: file for file in sorted(path.glob('*.pth')) if not file.stem.startswith('epoch_')}
    if not found:
        files = {folder.name: _preferred(folder) for folder in sorted(path.iterdir()) if folder.is_dir()}
        found = {name: file for name, file in files.items() if file is not None}
    if not found:
        raise ConfigError(f"'{path}' holds no model; give {_FORMS}")
    missing = [name for name in models or () if name not in found]
    if missing:
        raise ConfigError(f"--models names {missing[0]!r}, which '{path}' lacks; {near_matches(missing[0], found)}")
    return {name: found[name] for name in models or [name for name in MODEL_NAMES if name in found] or found}


def _is_of(path: Path, exporter: type[Exporter]) -> bool:
    return path.suffix == Path(exporter.file).suffix  # formats of one framework share a runtime


def _preferred(folder: Path) -> Path | None:
    files = (folder / exporter.file for exporter in all_formats().values())
    return next((file for file in files if file.is_file()), None)


def _device(name: str | None) -> torch.device:
    """Return a device by name, after trying it."""
    if name is None:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        return torch.empty(0, device=name).device
    except Exception as error:  # torch raises AssertionError or RuntimeError
        raise ConfigError(f'--device is {name!r}, which cannot be used ({reason(error)}); leave it out') from error


def _of_deployable(deployable: Deployable, device: torch.device) -> Callable[[Tensor], Tensor]:
    network = deployable.network().to(device)
    deployable.model.to(device)

    @torch.no_grad()
    def logits(images: Tensor) -> Tensor:
        return network(deployable.inputs(images.to(device))).float().cpu()

    return logits


def _of_file(path: Path, name: str, description: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    exporter = all_formats()[name]
    exporter.require(name)
    try:
        model = load(str(exporter.runtime), str(path))
    except ValueError as error:  # a sentence of the runtime
        raise ConfigError(str(error)) from error
    except ImportError as error:
        raise ConfigError(
            f"'{path}' cannot be loaded: a package of format {name!r} cannot be imported ({reason(error)}); install it again"
        ) from error
    except Exception as error:  # frameworks raise errors of any type
        raise ConfigError(f"'{path}' cannot be loaded ({reason(error)}); export the model again") from error
    mean, std = description['mean'], description['std']
    if not model.takes_uint8 and (mean is None or std is None):
        raise ConfigError(f"'{path.with_name(DESCRIPTION)}' has no mean and std of images; export the model again")
    prepare = as_uint8 if model.takes_uint8 else _normalisation(mean, std)

    def logits(images: Tensor) -> Tensor:
        inputs = prepare(images)
        parts = inputs.split(model.largest_batch or len(inputs))
        return torch.cat([torch.from_numpy(model(part.numpy())) for part in parts])

    return logits


def _normalisation(mean: Sequence[float], std: Sequence[float]) -> Callable[[Tensor], Tensor]:
    preprocessor = ImagePreprocessor(mean, std)
    return lambda images: preprocessor({'inputs': images})['inputs']
