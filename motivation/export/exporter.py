"""The base class of the formats in which a trained model is written."""

import importlib
import importlib.util
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from motivation.errors import ConfigError, reason
from motivation.export.deployable import Deployable
from motivation.utils.quiet import quiet_libraries

RUNTIMES = Path(__file__).parent / 'runtimes'


class Exporter(ABC):
    """Writes a trained model in one format. Registered in ``EXPORTERS`` under the name that ``--formats`` takes.

    Attributes:
        file: Name of what it writes in the folder of a model: a file, or a folder.
        packages: Modules that it imports and the framework does not need, with the name by which pip installs each.
        runtime: A Python file that imports nothing of this framework and has ``load(path)``, which returns a model as
            :mod:`motivation.export.runtimes` describes. Files are checked and timed through it, in a process of its own.
        tolerance: Largest difference of any logit from PyTorch's, relative to the largest absolute logit of the images,
            beyond which a file is refused. ``None`` for a quantised format, whose accuracy is reported instead.
        int8: Name of the format that is the same, quantised; ``None`` if there is none.
        loading: Python for the model card that loads the file in the current folder and makes ``logits`` of ``images``.
            ``{file}`` and ``{mode}`` stand for its name and the PIL mode of images. ``None`` for the card to name the runtime, or for a quantised format, which
            loads as the format that it is a form of.
        largest_batch: Number of images that a file takes at once, for the card; ``None`` (default) for any.
        takes_uint8: Whether files can take uint8 images and normalise them themselves. Default: ``True``.
    """

    file: ClassVar[str]
    packages: ClassVar[dict[str, str]] = {}
    runtime: ClassVar[Path]
    tolerance: ClassVar[float | None] = 1e-4
    int8: ClassVar[str | None] = None
    loading: ClassVar[str | None] = None
    takes_uint8: ClassVar[bool] = True
    largest_batch: ClassVar[int | None] = None

    @abstractmethod
    def export(self, deployable: Deployable, images: Tensor, path: Path) -> None:
        """Write a model.

        Args:
            deployable: The model.
            images: Training images, transformed as for validation: (N, C, H, W), uint8 or float from 0 to 1. The first
                are examples of the input; quantised formats are calibrated on all.
            path: Path of the file or folder, which does not exist.

        Raises:
            ConfigError: The model cannot be written in this format; the message says why and what can be done.
        """

    @classmethod
    def require(cls, name: str) -> None:
        """Check that the packages of a format are installed.

        Args:
            name: Name of the format.

        Raises:
            ConfigError: One lacks.
        """
        missing = [package for module, package in cls.packages.items() if importlib.util.find_spec(module) is None]
        if missing:
            raise ConfigError(
                f"format {name!r} needs {' and '.join(missing)}; install with 'pip install {' '.join(missing)}'"
            )

    @classmethod
    def import_packages(cls) -> None:
        """Import the packages of a format, which takes seconds, so as to name one that is broken.

        Raises:
            ConfigError: One cannot be imported.
        """
        for module, package in cls.packages.items():
            try:
                with quiet_libraries():
                    importlib.import_module(module)
            except Exception as error:  # a broken binary raises ImportError, RuntimeError or OSError
                raise ConfigError(
                    f"{module} cannot be imported ({reason(error)}); install it again with 'pip install --force-reinstall "
                    f"{package}'"
                ) from error
