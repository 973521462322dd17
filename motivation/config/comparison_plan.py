"""What a config says about the comparison of its arms, in the field ``comparison``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import MinLen
from pydantic import AfterValidator

from motivation.config.seeds import read_seeds
from motivation.utils.arguments import Count


@dataclass(frozen=True)
class ComparisonPlan:
    """A comparison of several arms over several seeds, as ``motivation compare`` runs it.

    In a config it makes a comparison a file, such as the registration of a study before it runs. Runs do not contain
    it, and training ignores it.

    Args:
        arms: Texts of the arms, see ``docs/comparing.md``. Default: ``never``, ``always``, ``consecutive``, ``random``
            and ``matched``; with a sweep ``never`` and ``always``.
        sweep: Lists of values by field: arms with the policy of the config, one for every combination of the values;
            ``None`` (default) for none.
        seeds: Seeds of every arm, each at least 0, and ranges such as ``'0:20'``, whose end does not belong to them.
            Default: 0, 1, 2.
        epochs: Number of epochs of every arm, to which its schedule is scaled, at least 1; ``None`` (default) for
            that of the config.
        metric: The metric to compare, such as ``'accuracy/top1'``; ``None`` (default) for the first that the runs
            report.
        claims: What shall be decided, as arguments of :class:`~motivation.config.claims.Claim`; ``None`` (default) for
            what follows from the kinds of the arms.
        until: ``'decided'`` to run one seed after the other until every claim is decided; ``None`` (default) for all
            seeds.
        executor: Where the runs are executed, ``NAME`` or ``NAME:KEY=VALUE,...``, see ``docs/comparing.md``. Default:
            ``'local'``.

    Example:
        >>> comparison = dict(arms=['never', 'always', 'config', 'matched'], seeds=[0, 1, 2, 3, 4])
    """

    arms: Annotated[Sequence[str], MinLen(1)] = ('never', 'always', 'consecutive', 'random', 'matched')
    sweep: Annotated[Mapping[str, Sequence[Any]], MinLen(1)] | None = None
    seeds: Annotated[Any, AfterValidator(read_seeds)] = (0, 1, 2)
    epochs: Count | None = None
    metric: str | None = None
    claims: Annotated[Sequence[dict[str, Any]], MinLen(1)] | None = None
    until: Literal['decided'] | None = None
    executor: str = 'local'
