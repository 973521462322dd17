"""What a comparison checks before and while it runs; tests/tools runs a whole one."""

import json
from pathlib import Path

import pytest

from motivation.comparison.compare import Comparison
from motivation.errors import ConfigError
from tests.conftest import DIGITS


def comparison(*arms, **kwargs):
    return Comparison(DIGITS, arms, kwargs.pop('seeds', [0, 1]), Path('work'), **kwargs)


def hold(job, planned):
    """As if the job had been run by an earlier comparison."""
    path = planned._prepare(job)
    job.folder.mkdir(parents=True)
    (job.folder / 'report.json').write_text(json.dumps({}))
    return path


def test_every_arm_has_every_seed_and_whole_seeds_come_first():
    planned = comparison('never', 'always')
    assert [(job.arm.label, job.seed, str(job.folder)) for job in planned.jobs] == [
        ('never', 0, 'work/never/seed0'),
        ('always', 0, 'work/always/seed0'),
        ('never', 1, 'work/never/seed1'),
        ('always', 1, 'work/always/seed1'),
    ]


def test_finished_runs_of_the_same_config_are_kept():
    hold(comparison('never').jobs[0], comparison('never'))
    assert [job.status for job in comparison('never', 'always').jobs] == ['finished', 'waiting', 'waiting', 'waiting']


@pytest.mark.parametrize(
    ('kwargs', 'field'),
    [
        (dict(epochs=3), 'train_cfg.max_epochs 40, which is 3 now'),
        (dict(options={'optim_wrapper.optimizer.lr': 0.3}), 'optim_wrapper.optimizer.lr 0.05, which is 0.3 now'),
    ],
)
def test_folder_with_runs_of_another_config_is_refused(kwargs, field):
    hold(comparison('never').jobs[0], comparison('never'))
    with pytest.raises(ConfigError, match=f"--work-dir 'work' holds 'never' with {field}; name another --work-dir"):
        comparison('never', **kwargs)


def test_folder_with_a_run_of_no_comparison_is_refused():
    folder = comparison('never').jobs[0].folder
    folder.mkdir(parents=True)
    (folder / 'report.json').write_text('{}')
    with pytest.raises(ConfigError, match="holds a run in 'work/never/seed0' that is of no comparison"):
        comparison('never')


def test_config_of_a_run_that_never_began_may_change():
    planned = comparison('never')
    planned._prepare(planned.jobs[0])
    assert [job.status for job in comparison('never', epochs=3).jobs] == ['waiting', 'waiting']


def test_written_config_is_the_arm_and_trains_by_itself():
    planned = comparison('consecutive:drops=3', epochs=5)
    text = planned._prepare(planned.jobs[1]).read_text()
    assert 'drops=3' in text and 'max_epochs=5' in text and 'seed=1' in text


@pytest.mark.parametrize(
    ('arms', 'kwargs', 'message'),
    [
        (['consecutive:drops=0'], {}, r'motivation\.policy\.drops is 0'),
        (
            ['consecutive:dropz=2'],
            {},
            r"motivation\.policy\.dropz is not an argument of ConsecutiveDrop; did you mean 'drops'",
        ),
        (['never'], dict(seeds=[0, 0]), '--seeds has 0 0; give each seed once'),
        (['never'], dict(epochs=0), 'epochs is 0'),
    ],
)
def test_mistake_is_found_before_anything_runs(arms, kwargs, message):
    with pytest.raises(ConfigError, match=message):
        comparison(*arms, **kwargs)
    assert not Path('work').exists()


def test_impossible_number_of_jobs_is_refused():
    with pytest.raises(ConfigError, match='--jobs is 0'):
        comparison('never').run([], limit=0)
