"""Where the results of a comparison go."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from motivation.comparison.output.output_files import write_comparison
from motivation.comparison.output.page import require_plotly, write_page
from motivation.comparison.output.tracking import RunTracker


class Outputs:
    """The files of a comparison and, where asked for, its page and trackers.

    Args:
        config: Config that the arms share.
        work_dir: Folder of the comparison.
        html: Whether to write the page. Default: ``False``, unless there is one, which would grow old.
        trackers: Trackers that the runs are written to, ``'mlflow'`` and ``'wandb'``. Default: none.

    Raises:
        ConfigError: The page or a tracker lacks what it needs.
    """

    def __init__(self, config: Config, work_dir: Path, html: bool = False, trackers: Sequence[str] = ()) -> None:
        self._work_dir, self._html = work_dir, html or (work_dir / 'compare.html').is_file()
        if self._html:
            require_plotly()
        self._trackers = [RunTracker(name, config, work_dir) for name in dict.fromkeys(trackers)]

    def write_files(self, comparison: dict[str, Any]) -> list[Path]:
        """Write the files and return their paths.

        Args:
            comparison: Data of the comparison, with its differences and claims.

        Raises:
            ConfigError: A file of an earlier comparison or of a run is damaged.
            OSError: A file cannot be written.
        """
        paths = write_comparison(comparison, self._work_dir)
        return [*paths, write_page(comparison, self._work_dir)] if self._html else paths

    def write_runs(self, comparison: dict[str, Any]) -> list[str]:
        """Write the finished runs to the trackers, and return what went wrong, a sentence for each tracker that failed.

        Args:
            comparison: Data of the comparison.
        """
        return list(filter(None, (tracker.write(comparison) for tracker in self._trackers)))
