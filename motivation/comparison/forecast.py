"""A forecast of the hours that a comparison takes, from the times of its models' batches."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, Literal

from mmengine.config import Config
from rich.box import SIMPLE_HEAD
from rich.table import Table

from motivation.comparison.arms import Arm
from motivation.comparison.jobs import Job
from motivation.comparison.timing import Timing
from motivation.registry import POLICIES
from motivation.report.structure import RunReport
from motivation.structures import MODEL_NAMES

# The signals that do not depend on training, from the batches done, those of the run, and those of an epoch.
_SIGNALS: dict[str, Callable[[int, int, int], float]] = {
    'iter': lambda done, total, epoch: done,
    'max_iters': lambda done, total, epoch: total,
    'progress': lambda done, total, epoch: done / total,
    'epoch': lambda done, total, epoch: done // epoch,
}

# A forward pass is a third of a training step: the backward pass has two products for each of its.
_FORWARD_PART = 1 / 3

# Losses that are drawn at least, so that the share of a short run is not that of one draw.
_DRAWS = 20_000

# Relative difference of two shares that counts as none.
_TOLERANCE = 0.02

Origin = Literal['exact', 'noise', 'runs', 'bound']


@dataclass(frozen=True)
class Share:
    """The share of motivated batches that an arm is expected to have.

    Attributes:
        value: From 0 to 1.
        origin: ``'exact'`` for a policy that ignores the losses; ``'noise'`` for a condition, as if losses were
            independent noise; ``'runs'`` for the mean of the arm's finished runs; ``'bound'`` where none of these is
            known and every batch may be motivated.
    """

    value: float
    origin: Origin


def forecast_share(policy: dict[str, Any], epochs: int, batches: int, seed: int) -> Share:
    """Return the share of motivated batches of a policy, from a simulation of its decisions.

    A condition is simulated on independent random losses. Its share is known if it is the same whatever their mean
    and spread, such as 1 / (n + 1)! for n consecutive drops; a threshold's is not.

    Args:
        policy: Config of the policy.
        epochs: Number of epochs.
        batches: Number of batches of an epoch.
        seed: Seed of the run.
    """
    try:
        first, others, scaled = (
            _decide(policy, epochs, batches, seed, *noise) for noise in ((0,), (1,), (0, 0.1, 3.0))
        )
    except Exception:  # a policy that needs what only a run has
        return Share(1.0, 'bound')
    if first == others == scaled:
        return Share(sum(first) / len(first), 'exact')
    if abs(sum(first) - sum(scaled)) > _TOLERANCE * max(sum(first), 1):
        return Share(1.0, 'bound')
    runs = [_decide(policy, epochs, batches, seed, draws) for draws in range(1 + _DRAWS // len(first))]
    return Share(sum(map(sum, runs)) / (len(runs) * len(first)), 'noise')


def _decide(
    config: dict[str, Any], epochs: int, batches: int, seed: int, draws: int, spread: float = 1.0, level: float = 0.0
) -> bytes:
    """Return which batches of a run would be motivated with random losses of a spread above a level."""
    policy, losses, total = POLICIES.build(dict(config)), random.Random(draws), epochs * batches
    policy.set_seed(seed)
    readers = [(name, _SIGNALS[name]) for name in policy.signals]
    motivated = bytearray(1)  # the first batch is the base model's
    for done in range(1, total):
        signals = {name: read(done, total, batches) for name, read in readers}
        motivated.append(policy.update(level + spread * losses.random(), **signals))
    return bytes(motivated)


def run_seconds(config: Config, timing: Timing, share: float) -> float:
    """Return how long a run takes, in seconds.

    In-place distillation adds a batch of the base model to each motivated one, and a teacher a forward pass of the
    motivated model, a third of its step, to each batch.

    Args:
        config: The config of the run.
        timing: Its times on this machine.
        share: Its share of motivated batches, from 0 to 1.
    """
    total = config.train_cfg.max_epochs * timing.batches
    base, motivated = timing.base, timing.motivated
    if config.model.get('distillation') is not None:
        motivated += timing.base
    if config.model.base.get('type') == 'DistilledClassifier':
        base += _FORWARD_PART * timing.motivated
    scored = (config.get('val_cfg') or {}).get('models', MODEL_NAMES)
    validation = sum(seconds for name, seconds in timing.validation.items() if name in scored)
    training = total * ((1 - share) * base + share * motivated)
    return timing.setup + training + count_validations(config.train_cfg) * validation


def count_validations(train_cfg: Mapping[str, Any]) -> int:
    """Return after how many epochs a run is validated."""
    last, begin, interval = train_cfg['max_epochs'], train_cfg.get('val_begin', 1), train_cfg.get('val_interval', 1)
    return sum(epoch >= begin and (epoch % interval == 0 or epoch == last) for epoch in range(1, last + 1))


def whole_seconds(runs: Sequence[tuple[float, int | None]], limit: int) -> float:
    """Return how long several runs take when a limited number runs at a time, in the order of a comparison.

    Args:
        runs: Seconds of each run, and the index of the run that it waits for; ``None`` for none.
        limit: Number of runs at a time, at least 1.
    """
    followers: dict[int, list[int]] = {}
    for place, (_, after) in enumerate(runs):
        if after is not None:
            followers.setdefault(after, []).append(place)
    now, running = 0.0, list[tuple[float, int]]()  # heaps, the runs that are free to start in their order
    ready = [place for place, (_, after) in enumerate(runs) if after is None]
    while ready or running:
        while ready and len(running) < limit:
            place = heappop(ready)
            heappush(running, (now + runs[place][0], place))
        now = running[0][0]
        while running and running[0][0] == now:
            for follower in followers.get(heappop(running)[1], ()):
                heappush(ready, follower)
    return now


@dataclass(frozen=True)
class ArmForecast:
    """What an arm will take.

    Attributes:
        label: The arm.
        epochs: Number of epochs of a run.
        share: Its share of motivated batches.
        seconds: Seconds of a run.
        left: Number of its runs that have not finished.
    """

    label: str
    epochs: int
    share: Share
    seconds: float
    left: int


@dataclass(frozen=True)
class Forecast:
    """What a comparison will take.

    Attributes:
        arms: What each arm will take.
        seconds: Seconds until the last run has finished.
        limit: Number of runs at a time.
        runs: Number of all runs, with the finished ones.
        timings: The times that it is made from, of each distinct pair of models.
    """

    arms: list[ArmForecast]
    seconds: float
    limit: int
    runs: int
    timings: list[Timing]

    @property
    def table(self) -> Table:
        """The forecast of each arm, for the terminal."""
        table = Table(title='forecast', title_justify='left', box=SIMPLE_HEAD, pad_edge=False)
        table.add_column('arm', overflow='fold')
        for name in ('epochs', 'motivated\nbatches', 'from', 'hours\na run', 'runs\nleft', 'hours'):
            table.add_column(name, justify='right', no_wrap=True)
        for arm in self.arms:
            table.add_row(
                arm.label,
                str(arm.epochs),
                f'{arm.share.value:.1%}',
                arm.share.origin,
                _hours(arm.seconds),
                str(arm.left),
                _hours(arm.seconds * arm.left),
            )
        return table

    @property
    def sentences(self) -> Iterator[str]:
        """The hours of the whole, the times it follows from, and what it assumes, a line each."""
        left = sum(arm.left for arm in self.arms)
        yield (
            f'about {_hours(self.seconds)} hours for the {left} of {self.runs} runs that are left, {self.limit} at a time'
        )
        for timing in self.timings:
            validation = ' + '.join(f'{seconds:.3g}' for seconds in timing.validation.values()) or 'none'
            yield (
                f'timed here: a batch of the base model {1e3 * timing.base:.3g} ms, of the motivated model '
                f'{1e3 * timing.motivated:.3g} ms, {timing.batches:,} batches an epoch, a validation {validation} s, '
                f'before the first batch {timing.setup:.3g} s'
            )
        yield (
            'motivated batches: exact for what ignores the losses; noise: as if the losses were independent noise; runs: as in '
            'the finished runs of the arm; bound: all, for nothing is known'
        )
        yield (
            'assumes that the machine stays as it is and that runs side by side are as fast as one alone; starting processes, '
            'checkpoints and re-estimated statistics are not included'
        )


def _hours(seconds: float) -> str:
    return f'{seconds / 3600:.3g}'


def make_forecast(
    jobs: Sequence[Job], configs: Mapping[str, Config], timings: Mapping[str, Timing], limit: int
) -> Forecast:
    """Return the forecast of a comparison.

    Args:
        jobs: All jobs; finished ones take no time.
        configs: The config of a run of each arm, by its label.
        timings: The times of each arm that has unfinished runs, by its label.
        limit: Number of runs at a time.
    """
    arms = {job.arm.label: job.arm for job in jobs}
    shares: dict[str, Share] = {}
    for label, arm in sorted(arms.items(), key=lambda item: item[1].reference is not None):
        if label in timings:
            shares[label] = _share_of(arm, jobs, configs[label], timings[label].batches, shares)
    seconds = {label: run_seconds(configs[label], timings[label], shares[label].value) for label in shares}
    left = Counter(job.arm.label for job in jobs if job.status != 'finished')
    places = {(job.arm.label, job.seed): place for place, job in enumerate(jobs)}
    runs = []
    for job in jobs:
        takes = 0.0 if job.status == 'finished' else seconds[job.arm.label]
        runs.append((takes, places.get((job.arm.reference or '', job.seed))))
    distinct: list[Timing] = []
    distinct.extend(timing for timing in timings.values() if timing not in distinct)
    return Forecast(
        arms=[
            ArmForecast(label, configs[label].train_cfg.max_epochs, shares[label], seconds[label], left[label])
            for label in arms
            if label in shares
        ],
        seconds=whole_seconds(runs, limit),
        limit=limit,
        runs=len(jobs),
        timings=distinct,
    )


def _share_of(arm: Arm, jobs: Sequence[Job], config: Config, batches: int, shares: Mapping[str, Share]) -> Share:
    """Return the share of an arm; a control has that of the arm it is derived from."""
    if arm.source == 'distillation':
        return Share(0.0, 'exact')
    if arm.reference is not None and arm.reference in shares:
        return shares[arm.reference]
    finished = [job for job in jobs if job.arm.label == (arm.reference or arm.label) and job.status == 'finished']
    fractions = [RunReport.read(job.folder / 'report.json').motivated_fraction for job in finished]
    known = Share(sum(fractions) / len(fractions), 'runs') if fractions else None
    if arm.reference is not None and known is not None:
        return known
    policy, epochs = config.motivation.policy.to_dict(), config.train_cfg.max_epochs
    share = forecast_share(policy, epochs, batches, config.randomness.seed)
    return share if share.origin == 'exact' else known or share
