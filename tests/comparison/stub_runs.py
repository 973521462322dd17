"""A comparison of many runs that take no time: what planning, scheduling and writing cost.

python -m tests.comparison.stub_runs 400 5       # arms, seeds
"""

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from motivation.comparison.compare import Comparison
from motivation.executors.executor import Executor, Outcome
from motivation.policies.switch_trace import SwitchTrace
from motivation.registry import EXECUTORS
from tests.conftest import DIGITS
from tests.report.reports import model_report, run_report

_REPORT = json.dumps(
    run_report(model_report({'accuracy/top1': 50.0}), model_report({'accuracy/top1': 60.0}), []).to_json()
)


class _Finished:
    def poll(self):
        return Outcome(0)

    def cancel(self):
        pass

    def wait(self):
        return Outcome(0)


@EXECUTORS.register_module(name='stub', force=True)
class StubExecutor(Executor):
    """Writes the files of a run that another may be derived from, and counts the submissions."""

    submissions = 0

    def open(self, script, environment, folder):
        pass

    def submit(self, requests):
        StubExecutor.submissions += 1
        for request in requests:
            (request.folder / 'report.json').write_text(_REPORT)
            trace = SwitchTrace()
            for batch in range(20):
                trace.append(0, 1.0, batch % 3 == 2, False)
            trace.save(request.folder)
        return [_Finished() for _ in requests]


def compare(arms, seeds):
    """Return a comparison in the folder ``work`` that is planned but not run; half of its conditions have a control."""
    conditions = [f'consecutive:drops={drops}' for drops in range(1, 1 + (arms - 2) // 2)]
    controls = [f'matched:arm={condition}' for condition in conditions]
    texts = ['never', 'always', *conditions, *controls]
    return Comparison(DIGITS, Path('work'), arms=texts, seeds=list(range(seeds)), executor='stub')


def _measured(name, step):
    begun = time.process_time()
    step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f'{name}: {time.process_time() - begun:.1f} s of CPU, peak {peak} MiB', file=sys.stderr)


def main(arms, seeds):
    os.chdir(tempfile.mkdtemp())
    _measured('planned', lambda: compare(arms, seeds))
    made = compare(arms, seeds)
    _measured('run', lambda: made.run(Path('train.py')))
    _measured('written', made.write)
    _measured('planned again', lambda: compare(arms, seeds))
    print(f'{len(made.jobs)} runs in {StubExecutor.submissions} submissions', file=sys.stderr)


if __name__ == '__main__':
    main(*map(int, sys.argv[1:]))
