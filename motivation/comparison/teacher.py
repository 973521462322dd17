"""The run of a teacher that a comparison did not train."""

from pathlib import Path

from motivation.errors import ConfigError
from motivation.report.structure import RunReport


def read_teacher_report(teacher: str) -> RunReport:
    """Return the report of the run that exported a teacher, which contains the cost of training it.

    Args:
        teacher: Path of the teacher's ``motivated.pth``; the report is in the same folder.

    Raises:
        ConfigError: There is no report, or it is damaged.
    """
    report = Path(teacher).parent / 'report.json'
    if not report.is_file():
        raise ConfigError(
            f'distillation:teacher={teacher} has no report.json beside it, so its cost is unknown; give the '
            "motivated.pth in the work_dir of its run, or an arm 'always'"
        )
    return RunReport.read(report)
