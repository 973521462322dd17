"""Example reports for tests."""

from collections.abc import Sequence
from typing import Any

from motivation.report.structure import ModelCompute, ModelReport, RunCompute, RunReport, Validation


def model_compute(train_flops: int = 10**12, **values: Any) -> ModelCompute:
    made_up = dict(
        forward_macs_per_image=12_500_000,
        step_forward_macs_per_image=12_500_000,
        backward_macs_per_image=24_000_000,
        images=3840,
        forward_flops=4 * 10**11,
        backward_flops=6 * 10**11,
        train_flops=train_flops,
        evaluation_flops=6 * 10**9,
        reestimation_flops=0,
        seconds=30.0,
        images_per_second=128.0,
        flops_per_second=3.25e10,
    )
    return ModelCompute(**{**made_up, **values})


def model_report(metrics: dict[str, float], compute: ModelCompute | None = None, **values: Any) -> ModelReport:
    return ModelReport(
        **{'model': 'one', 'params': 78042, 'iters': 30, 'best': {}, **values}, metrics=metrics, compute=compute
    )


def run_report(
    base: ModelReport, motivated: ModelReport, history: Sequence[Validation] = (), saving: float = 2.5, **values: Any
) -> RunReport:
    """Return a report whose compute is the sum of both models', or not counted."""
    compute = None
    if base.compute is not None and motivated.compute is not None:
        total = base.compute.train_flops + motivated.compute.train_flops
        compute = RunCompute(0, total, int(saving * total), saving)
    made_up = dict(
        policy='ConsecutiveDrop(drops=2)',
        seed=7,
        epochs=1,
        motivated_fraction=0.25,
        activations=2,
        wall_seconds=1234.4,
        skipped_iters=0,
        rollbacks=0,
        compute=compute,
    )
    return RunReport(**{**made_up, **values}, base=base, motivated=motivated, history=list(history))
