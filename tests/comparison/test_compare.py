"""The checks of a comparison before and during its runs; tests/tools runs a whole comparison."""

import json
from pathlib import Path

import pytest

from motivation.comparison.compare import Comparison
from motivation.errors import ConfigError
from motivation.policies.switch_trace import SwitchTrace
from tests.conftest import DIGITS


def comparison(*arms, **kwargs):
    return Comparison(DIGITS, Path('work'), **{'arms': arms, 'seeds': [0, 1], **kwargs})


def hold(job, planned):
    """Write what an earlier comparison would have left of a job."""
    path = planned._prepare(job)
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / 'report.json').write_text(json.dumps({}))
    return path


def test_every_arm_has_every_seed_and_runs_are_ordered_by_seed():
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
        (
            dict(options={'val_dataloader.dataset.split': 'train'}),
            "val_dataloader.dataset.split 'test', which is 'train' now",
        ),
        (dict(options={'load_from': 'x.pth'}), "load_from None, which is 'x.pth' now"),
    ],
)
def test_folder_with_runs_of_another_config_is_refused(kwargs, field):
    hold(comparison('never').jobs[0], comparison('never'))
    with pytest.raises(ConfigError, match=f"--work-dir 'work' holds 'never' with {field}; name another --work-dir"):
        comparison('never', **kwargs)


def test_folder_with_a_run_that_no_comparison_made_is_refused():
    folder = comparison('never').jobs[0].folder
    folder.mkdir(parents=True)
    (folder / 'report.json').write_text('{}')
    with pytest.raises(ConfigError, match="holds a run in 'work/never/seed0' that no comparison made"):
        comparison('never')


def test_config_of_a_run_that_never_started_may_change():
    planned = comparison('never')
    planned._prepare(planned.jobs[0])
    assert [job.status for job in comparison('never', epochs=3).jobs] == ['waiting', 'waiting']


def test_written_config_trains_the_arm_by_itself():
    planned = comparison('consecutive:drops=3', epochs=5)
    text = planned._prepare(planned.jobs[1]).read_text()
    assert 'drops=3' in text and 'max_epochs=5' in text and 'seed=1' in text


@pytest.mark.parametrize(
    ('arms', 'kwargs', 'message'),
    [
        (['consecutive:drops=0'], {}, r'motivation\.policy\.drops must be at least 1, got 0'),
        (
            ['consecutive:dropz=2'],
            {},
            r"motivation\.policy\.dropz is not an argument of ConsecutiveDrop; did you mean 'drops'",
        ),
        (['never'], dict(seeds=['0', '0']), r"--seeds must be .*each given once .*, got \['0', '0'\]"),
        (['never'], dict(epochs=0), '--epochs must be a whole number of at least 1, got 0'),
        (['never'], dict(seeds=['-1']), r"--seeds must be .* at least 0, .*, got \['-1'\]"),
        # A control is checked before the arm that it is derived from has run.
        (['consecutive', 'matched:seeed=3'], {}, r'motivation\.policy\.seeed is not an argument of MatchedRandom'),
        (['consecutive', 'random:rte=2'], {}, r'motivation\.policy\.rte is not an argument of RandomGate'),
        (
            ['always', 'distillation:strength=2'],
            {},
            "is 'cifar_resnet8', which timm cannot build with the arguments .*'strength': 2",
        ),
        (['always', 'distillation:weight=2'], {}, r'model\.base\.weight must be at most 1, got 2'),
        (['distillation:teacher=x/motivated.pth'], {}, r'has no report\.json beside it'),
    ],
)
def test_invalid_input_is_reported_before_anything_runs(arms, kwargs, message):
    with pytest.raises(ConfigError, match=message):
        comparison(*arms, **kwargs)
    assert not Path('work').exists()


def test_work_dir_that_is_a_file_is_refused():
    Path('work').touch()
    with pytest.raises(ConfigError, match="--work-dir 'work' is a file"):
        comparison('never')


def test_finished_control_is_not_reused_for_another_reference():
    """The control was derived from consecutive; now the first condition is LossRise, which has not run yet."""
    planned = comparison('consecutive', 'random', seeds=[0])
    for job, motivated in zip(planned.jobs, ([0, 1, 1, 0], [0, 1, 0, 0]), strict=True):
        job.folder.mkdir(parents=True)
        trace = SwitchTrace()
        for flag in motivated:
            trace.append(0, 1.0, bool(flag), False)
        trace.save(job.folder)
        hold(job, planned)
        job.status = 'finished'
    assert [job.status for job in comparison('consecutive', 'random', seeds=[0]).jobs] == ['finished'] * 2
    later = comparison('LossRise', 'consecutive', 'random', seeds=[0])
    rise, _, random = later.jobs
    assert random.status == 'waiting'
    rise.folder.mkdir(parents=True)
    trace.save(rise.folder)
    rise.status = 'finished'
    with pytest.raises(ConfigError, match=r"holds 'random' with motivation\.policy\.rate 0\.66.*, which is 0\.33"):
        later._prepare(random)


def test_number_of_jobs_below_one_is_refused():
    with pytest.raises(ConfigError, match='--jobs must be at least 1, got 0'):
        comparison('never').run(Path('train.py'), limit=0)


@pytest.mark.parametrize(
    ('metric', 'message'),
    [
        ('acuracy/top1', r"^--metric is 'acuracy/top1', which the runs will not report; did you mean 'accuracy/top1'"),
        ('base/accuracy/top1', r"^--metric is .*; both models are compared: write 'accuracy/top1'$"),
        ('f1/macro', r"^--metric is 'f1/macro', which the runs will not report; there is accuracy/top1"),
    ],
)
def test_metric_that_no_run_will_report_is_refused_before_the_first_run(metric, message):
    with pytest.raises(ConfigError, match=message):
        comparison('never', metric=metric)


def test_metric_that_the_config_of_the_runs_adds_is_accepted():
    evaluator = [dict(type='TorchMetric', metric='F1Score', per_class=True)]
    for metric in ('f1/macro', 'f1/class/9', 'ema/f1/macro'):
        comparison('never', metric=metric, options={'val_evaluator': evaluator})
