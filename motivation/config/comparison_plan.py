"""What a config says about the comparison of its arms, in the field ``comparison``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import MinLen

from motivation.utils.arguments import Count, Seed


@dataclass(frozen=True)
class ComparisonPlan:
    """A comparison of several arms over several seeds, as ``motivation compare`` runs it.

    In a config it makes a comparison a file, such as the registration of a study before it runs. Runs do not contain
    it, and training ignores it.

    Args:
        arms: Texts of the arms, see ``docs/comparing.md``. Default: ``never``, ``always``, ``consecutive``, ``random``
            and ``matched``.
        seeds: Seeds of every arm, each at least 0. Default: 0, 1, 2.
        epochs: Number of epochs of every arm, to which its schedule is scaled, at least 1; ``None`` (default) for
            that of the config.
        metric: The metric to compare, such as ``'accuracy/top1'``; ``None`` (default) for the first that the runs
            report.
        executor: Where the runs are executed, ``NAME`` or ``NAME:KEY=VALUE,...``, see ``docs/comparing.md``. Default:
            ``'local'``.

    Example:
        >>> comparison = dict(arms=['never', 'always', 'config', 'matched'], seeds=[0, 1, 2, 3, 4])
    """

    arms: Annotated[Sequence[str], MinLen(1)] = ('never', 'always', 'consecutive', 'random', 'matched')
    seeds: Annotated[Sequence[Seed], MinLen(1)] = (0, 1, 2)
    epochs: Count | None = None
    metric: str | None = None
    executor: str = 'local'
