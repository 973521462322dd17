"""Exporting the models of a run in several formats, each file measured before it is put in its place."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from motivation.errors import ArgumentError, ConfigError, counted, reason
from motivation.export.deployable import Deployable
from motivation.export.description import write_description
from motivation.export.exporter import Exporter
from motivation.export.finished_run import FinishedRun
from motivation.export.formats import Formats
from motivation.export.model_card import write_card
from motivation.export.origin import DESCRIPTION, PARITY
from motivation.export.parity import LARGEST_DROP, Parity, describe_model, measure_parity
from motivation.utils.files import sha256

# Name of the folder of exported models in that of a run, and of what is not yet measured in a model's.
FOLDER, _PART = 'exported', '.part'

# Training images on which quantised formats are calibrated.
CALIBRATION_IMAGES = 256


@dataclass(frozen=True)
class ExportSettings:
    """How models are exported.

    Attributes:
        raw_input: Whether files take uint8 images and normalise them themselves; ``False`` by default.
        calibration_images: Number of training images on which quantised formats are calibrated.
        images: Number of validation images on which files are compared; ``None`` (default) for all.
        largest_drop: Points of accuracy that a quantised file may lose.
        overwrite: Whether to replace files that are there. Default: ``False``.

    Raises:
        ArgumentError: A number is out of bounds.
    """

    raw_input: bool = False
    calibration_images: int = CALIBRATION_IMAGES
    images: int | None = None
    largest_drop: float = LARGEST_DROP
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in ('calibration_images', 'images'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ArgumentError(name, f'must be at least 1, got {value}')
        if not 0 <= self.largest_drop <= 100:
            raise ArgumentError('largest_drop', f'must be 0 to 100 points, got {self.largest_drop:g}')


@dataclass
class ExportedFile:
    """A file of an export.

    Attributes:
        model: Name of the model: ``'base'``, ``'motivated'``, ``'base_ema'``, ...
        format: Name of the format.
        path: Where the file is, or would be.
        parity: What it does; ``None`` if it could not be written.
        problem: Why it was not written, or was refused; ``None`` for a file to use.
    """

    model: str
    format: str
    path: Path
    parity: Parity | None = None
    problem: str | None = None


def export_run(
    run: FinishedRun,
    models: Sequence[str],
    formats: Formats,
    folder: Path,
    settings: ExportSettings = ExportSettings(),
    announce: Callable[[str], None] = lambda message: None,
) -> list[ExportedFile]:
    """Export models of a run, and measure what was written.

    Everything of a model goes to a folder of its name, with a ``<file>.parity.json`` beside each file. A file that does
    not run, or disagrees with PyTorch, is ``<file>.refused``. A file is at its place only once it was measured.

    Args:
        run: The run.
        models: Names of its models.
        formats: The formats, see :func:`~motivation.export.formats.choose_formats`.
        folder: Folder of the results.
        settings: How.
        announce: Called with a sentence on what was done. Default: nothing.

    Returns:
        Every file, written or not.

    Raises:
        ConfigError: A model or the data of the run are missing, or a file is there already.
        OSError: The folder cannot be written.
    """
    files = {name: plan_files(name, formats, folder) for name in check_models(run, models)}
    there = [file.path for planned in files.values() for file in planned if file.path.exists()]
    if there and not settings.overwrite:
        raise ConfigError(f"'{there[0]}' exists; give --overwrite to replace it, or another --out")
    quantised = any(exporter.tolerance is None for exporter in formats.values())
    count = min(settings.images or run.count_validation(), run.count_validation())
    some = run.training_images(settings.calibration_images) if quantised else next(iter(run.validation(2)))['inputs']
    for name, planned in files.items():
        deployable, digest = Deployable.load(run.models[name], settings.raw_input), sha256(run.models[name])
        if deployable.metainfo.get('input_size') is None:
            raise ConfigError(
                f"'{run.models[name]}' is not a model of images, which these formats are for; leave it out"
            )
        part = folder / name / _PART
        shutil.rmtree(part, ignore_errors=True)  # of an export that was stopped
        try:
            _write(planned, formats, deployable, some, part, settings, announce)
            _measure(planned, formats, deployable, run, count, part, announce)
            for file in planned:
                _put(file, part / file.format, digest)
            write_description(deployable, name, digest, folder / name / DESCRIPTION)
            write_card(folder / name, name, run, deployable)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return [file for planned in files.values() for file in planned]


def check_models(run: FinishedRun, models: Sequence[str]) -> list[str]:
    """Return the names of models, once each.

    Raises:
        ConfigError: The run has none of that name.
    """
    for name in models:
        if name not in run.models:
            raise ConfigError(f"'{run.folder}' has no model {name!r}; it has {', '.join(run.models)}")
    return list(dict.fromkeys(models))


def plan_files(model: str, formats: Formats, folder: Path) -> list[ExportedFile]:
    """Return the files that the export of a model consists of."""
    return [ExportedFile(model, name, folder / model / exporter.file) for name, exporter in formats.items()]


def _write(
    planned: Sequence[ExportedFile],
    formats: Formats,
    deployable: Deployable,
    images: Tensor,
    part: Path,
    settings: ExportSettings,
    announce: Callable[[str], None],
) -> None:
    """Write the files of a model, each in a folder of its format; a failure is recorded with the file."""
    parameters, macs = describe_model(deployable, images)
    for file in planned:
        exporter: type[Exporter] = formats[file.format]
        place, begun = part / file.format / file.path.name, time.monotonic()
        takes_uint8 = deployable.raw_input and exporter.takes_uint8
        place.parent.mkdir(parents=True)
        try:
            exporter.import_packages()
            exporter().export(replace(deployable, raw_input=takes_uint8), images, place)
            if not place.exists():
                file.problem = 'the format wrote no file'
        except ConfigError as error:
            file.problem = _named(str(error), place)
        except ImportError as error:
            file.problem = f'a package that the format needs cannot be imported: {reason(error)}'
        except OSError:
            raise
        except Exception as error:  # formats raise errors of any type
            file.problem = _named(f'the format fails on this model: {reason(error)}', place)
        if file.problem is not None:
            announce(f'{file.model}: {file.path.name} is not written: {file.problem}')
            continue
        quantised = exporter.tolerance is None
        file.parity = Parity(
            file.format,
            'uint8' if takes_uint8 else 'normalised',
            quantised,
            sum(path.stat().st_size for path in place.parent.rglob('*') if path.is_file()),
            parameters,
            macs,
            exporter.tolerance,
            settings.largest_drop if quantised else None,
            sha256=sha256(place),
        )
        announce(f'{file.model}: {file.path.name} is written, {time.monotonic() - begun:.1f} s')


def _measure(
    planned: Sequence[ExportedFile],
    formats: Formats,
    deployable: Deployable,
    run: FinishedRun,
    count: int,
    part: Path,
    announce: Callable[[str], None],
) -> None:
    """Measure the files of a model."""
    written = [file for file in planned if file.parity is not None]
    begun = time.monotonic()
    measure_parity(
        [
            (part / file.format / file.path.name, formats[file.format].runtime, file.parity)
            for file in written
            if file.parity
        ],
        deployable,
        run.validation(count),
        run.batch_size,
    )
    model = planned[0].model
    for file in written:
        if file.parity is not None and not file.parity.accepted:
            file.parity.reason = _named(str(file.parity.reason), part / file.format / file.path.name)
            file.problem = file.parity.reason
            announce(f'{model}: {file.path.name} is refused, because it {file.problem}')
    compared = [file for file in written if file.parity is not None and file.parity.images]
    if compared:
        files = counted(len(compared), 'file')
        announce(f'{model}: {files} compared on {counted(count, "image")}, {time.monotonic() - begun:.1f} s')


def _named(text: str, place: Path) -> str:
    """Return a text with the name of a file instead of the path that it has until it is measured."""
    for path in (place, place.resolve()):
        text = text.replace(str(path), place.name)
    return text


def _put(file: ExportedFile, part: Path, digest: str) -> None:
    """Move a measured file, its report and what belongs to it to their place."""
    if file.parity is None:
        return
    refused = file.path.with_name(f'{file.path.name}.refused')
    for old in (refused, *([file.path] if file.problem else ())):  # of an export that this one replaces
        old.unlink(missing_ok=True)
    file.parity.made_from = digest
    file.parity.write(file.path.with_name(f'{file.path.name}{PARITY}'))
    for path in part.iterdir():
        path.replace(refused if file.problem and path.name == file.path.name else file.path.with_name(path.name))
