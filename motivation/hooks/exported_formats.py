"""Exporting a run that has just ended in other formats, without losing anything of it if that fails."""

from pathlib import Path

from mmengine.runner import Runner
from rich.console import Console

from motivation.errors import ConfigError, reason
from motivation.export.export_run import FOLDER, ExportSettings, export_run
from motivation.export.finished_run import FinishedRun
from motivation.export.formats import Formats
from motivation.export.parity_table import parity_table


def export_formats(runner: Runner, formats: Formats, settings: ExportSettings) -> None:
    """Export both models of a run, and their averages, and print what the files do.

    Whatever cannot be written, or is refused, is recorded in ``runner.unwritten``, and an error at the end of the run.

    Args:
        runner: The run, whose models and report are written.
        formats: The formats.
        settings: How.
    """
    remedy = f"'python tools/export.py {runner.work_dir} --overwrite' exports it again"
    try:
        run = FinishedRun.open(runner.work_dir)
        models = [name.replace('/', '_') for name in runner.model.scored()]
        files = export_run(run, models, formats, run.folder / FOLDER, settings, runner.announce)
    except Exception as error:  # after hours of training, nothing may end in a traceback
        problem = str(error) if isinstance(error, ConfigError) else reason(error)
        runner.unwritten.note(FOLDER, problem, remedy)
        return
    Console(highlight=False, soft_wrap=True).print(parity_table(files))
    for file in files:
        if file.problem is not None:
            runner.unwritten.note(str(file.path.relative_to(Path(run.folder))), file.problem, remedy)
