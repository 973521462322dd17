"""Finished runs of many arms, made up."""

import json
import random
from pathlib import Path

from mmengine.config import Config

from motivation.comparison.arms import plan_arms
from motivation.comparison.jobs import Job
from motivation.report.structure import ModelScores, Validation
from motivation.structures import MODEL_NAMES
from tests.report.reports import model_compute, model_report, run_report

SHARED = Config(dict(motivation=dict(policy=dict(type='ConsecutiveDrop'))))


def finished_jobs(arms: int, seeds: int, epochs: int, folder: Path) -> list[Job]:
    """Write the reports of ``never``, ``always`` and a sweep, so many arms in all, and return their jobs.

    An arm costs more with each drop fewer, and ends with an accuracy that grows with its cost, apart from noise of the seed.
    """
    texts = ['never', 'always', *(f'config:motivation.policy.drops={drops}' for drops in range(1, arms - 1))]
    planned = plan_arms(texts, SHARED)
    return [
        Job(arm, seed, _written(arm, seed, place, epochs, folder / arm.folder / f'seed{seed}'), status='finished')
        for seed in range(seeds)
        for place, arm in enumerate(planned)
    ]


def _written(arm, seed, place, epochs, folder):
    if not (folder / 'report.json').is_file():
        costs = {'never': (100, 0), 'always': (0, 400)}.get(arm.label, (90, 20 + 300 // (1 + place)))
        flops = dict(zip(MODEL_NAMES, (int(cost * 1e9) for cost in costs), strict=True))
        noise = random.Random(f'{arm.label} {seed}').gauss(0, 0.5)
        ends = {'base': 68 + costs[1] / 100 + noise, 'motivated': 65 + 2 * costs[1] ** 0.3 + noise}

        def scores(name, share):
            metrics = {'accuracy/top1': ends[name] * share**0.1} if name in arm.trains else {}
            return ModelScores(metrics, int(flops[name] * share))

        history = [
            Validation(n, n, {name: scores(name, n / epochs) for name in MODEL_NAMES}) for n in range(1, epochs + 1)
        ]
        models = [model_report(scores(name, 1).metrics, model_compute(flops[name])) for name in MODEL_NAMES]
        folder.mkdir(parents=True)
        report = run_report(*models, history, policy=arm.label, epochs=epochs)
        (folder / 'report.json').write_text(json.dumps(report.to_json()))
    return folder
