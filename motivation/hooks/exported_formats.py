"""Exporting a run that has just ended in other formats, and naming earlier exports that are of other weights now."""

from pathlib import Path

from mmengine.runner import Runner
from rich.console import Console

from motivation.errors import ConfigError, reason
from motivation.export.cascade import FILE
from motivation.export.export_run import FOLDER, ExportSettings, export_run
from motivation.export.finished_run import FILES, FinishedRun
from motivation.export.formats import Formats
from motivation.export.origin import is_outdated, outdated_files
from motivation.export.parity_table import parity_table


def export_formats(runner: Runner, formats: Formats, settings: ExportSettings) -> None:
    """Export both models of a run, and their averages, and print what the files do.

    Whatever cannot be written, or is refused, is recorded in ``runner.unwritten``, and an error at the end of the run.

    Args:
        runner: The run, whose models and report are written.
        formats: The formats.
        settings: How.
    """
    remedy = f"'motivation export {runner.work_dir} --overwrite' exports it again"
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


def warn_of_outdated(runner: Runner) -> None:
    """Name the exported models and the thresholds of a cascade that an earlier training left in the folder of a run.

    Args:
        runner: The run, whose models are written.
    """
    folder = Path(runner.work_dir)
    models = {name: folder / f'{name}.pth' for name in FILES if (folder / f'{name}.pth').is_file()}
    try:
        for name, files in outdated_files(folder / FOLDER, models).items():
            runner.announce(
                f"'{folder / FOLDER / name}' holds {', '.join(files)} of other weights than the '{name}.pth' of this run; "
                f"replace with 'motivation export {folder} --models {name} --overwrite'"
            )
        if is_outdated(folder / FILE, models):
            runner.announce(
                f"'{folder / FILE}' is of other weights than the models of this run; replace it with "
                f"'motivation cascade {folder} --overwrite'"
            )
    except OSError as error:  # the run is complete
        runner.announce(f'whether exports in {str(folder)!r} are of these weights is not known ({reason(error)})')
