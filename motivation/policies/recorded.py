"""Controls derived from a recorded run: the same motivated batches, or as many random ones."""

import random
from pathlib import Path
from typing import Any

from motivation.errors import ArgumentError, ConfigError
from motivation.policies.matching import draw_batches, draw_spells
from motivation.policies.switch_policy import SwitchPolicy
from motivation.policies.switch_trace import SwitchTrace
from motivation.registry import POLICIES
from motivation.utils.arguments import Count, Seed, checked


class _Recorded(SwitchPolicy):
    """Base class of policies that read the switch trace of a run."""

    @checked
    def __init__(self, run: str | Path) -> None:
        self.run = str(run)
        try:
            self._trace = SwitchTrace.load(Path(run))
        except ConfigError as error:
            raise ArgumentError('run', f'is {self.run!r}: {error}') from error

    def _check_length(self, max_iters: int) -> None:
        if len(self._trace) != max_iters:
            raise ConfigError(
                f'{type(self).__name__}.run is {self.run!r}, which recorded {len(self._trace):,} batches, but this run '
                f'has {max_iters:,}; give a finished run of the same length'
            )


@POLICIES.register_module()
class Replay(_Recorded):
    """A policy that repeats the decisions of a recorded run, so that the same batches are motivated.

    Args:
        run: The work_dir of the recorded run, or its ``switches.npz``.

    Raises:
        ValueError: There is no switch trace, or (after the first batch) it has another number of batches.

    Example:
        >>> motivation = dict(policy=dict(type='Replay', run='work_dirs/resnet8_resnet20_consecutive'))
    """

    def update(self, loss: float, iter: int, max_iters: int) -> bool:
        self._check_length(max_iters)
        return bool(self._trace.decisions[iter - 1])


@POLICIES.register_module()
class MatchedRandom(_Recorded):
    """A policy with as many motivated batches as a recorded run had, at random positions.

    Every choice of that many batches is equally likely, without the first batch, which is always the base model's. A
    condition may also owe its result to *when* in the run it wakes the motivated model, or to how long for; ``windows``
    and ``spells`` match these too, so that only the choice of the very batches is left to differ.

    Source: control experiment B of "Motivation is Something You Need", arXiv 2602.21064; ``windows`` and ``spells`` are
    this project's.

    Args:
        run: The work_dir of the recorded run, or its ``switches.npz``.
        seed: Seed of the random draws, at least 0; ``None`` (default) for the seed of the run.
        windows: Number of equal parts of the run; each has as many motivated batches as it had in the recorded run. 1
            by default, the whole run.
        spells: Whether the motivated batches form as many spells as in the recorded run, of the same lengths; a spell
            that crosses the end of a window stays where it was. Default: ``False``, single batches at random.

    Raises:
        ValueError: A value is out of range, there is no switch trace, or (after the first batch) it has another number
            of batches.

    Example:
        >>> motivation = dict(policy=dict(
        ...     type='MatchedRandom', run='work_dirs/resnet8_resnet20_consecutive', windows=10, spells=True))
    """

    @checked
    def __init__(self, run: str | Path, seed: Seed | None = None, windows: Count = 1, spells: bool = False) -> None:
        super().__init__(run)
        self.windows = windows
        self.spells = spells
        self.seed = seed
        self._seed = seed or 0
        self._chosen: set[int] | None = None

    def set_seed(self, seed: int) -> None:
        if self.seed is None:
            self._seed = seed

    def update(self, loss: float, iter: int, max_iters: int) -> bool:
        if self._chosen is None:
            self._check_length(max_iters)
            generator, trace = random.Random(self._seed), self._trace
            self._chosen = (
                draw_spells(generator, trace.spells(), max_iters, self.windows)
                if self.spells
                else draw_batches(generator, trace.motivated, self.windows)
            )
        return iter in self._chosen

    def state_dict(self) -> dict[str, Any]:
        return {'seed': self._seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._seed, self._chosen = state_dict['seed'], None
