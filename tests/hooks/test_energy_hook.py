import builtins
import json
import logging
import math
import shutil
import threading
import time
from types import SimpleNamespace

import pytest
from codecarbon.external.scheduler import PeriodicScheduler
from mmengine.hooks import Hook

from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.hooks import EnergyHook
from motivation.hooks.energy_hook import describe_hardware, stop_timers
from tests.conftest import train
from tests.small import small_config

GRID_OF_GERMANY = 380.95  # g a kWh, as codecarbon has it


def energy_config(work_dir, epochs=1, **options):
    return small_config(
        work_dir,
        epochs,
        **{'default_hooks.energy.type': 'EnergyHook', 'default_hooks.energy.country': 'DEU', **options},
    )


def read_report(work_dir):
    return json.loads((work_dir / 'report.json').read_text())


def live_timers():
    return [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_report_holds_plausible_energy_and_emissions(tmp_path, capfd):
    (tmp_path / '.codecarbon.config').write_text('[codecarbon]\noutput_methods = csv\nlog_level = debug\n')
    begun = time.monotonic()
    train(energy_config(tmp_path / 'run'))
    seconds = time.monotonic() - begun

    report = read_report(tmp_path / 'run')
    assert math.isfinite(report['energy_wh'])
    # Between an idle processor while training and a large server all the time.
    assert 1 * report['wall_seconds'] < 3600 * report['energy_wh'] < 10_000 * seconds
    assert report['co2_grams'] == pytest.approx(report['energy_wh'] / 1000 * GRID_OF_GERMANY)
    assert report['energy_source'].endswith(', grid of DEU')

    assert live_timers() == []
    assert [path.name for path in tmp_path.rglob('*') if 'emission' in path.name] == []
    assert [path.name for path in tmp_path.rglob('*.csv')] == ['predictions.csv']
    printed = capfd.readouterr()
    assert 'codecarbon' not in printed.out + printed.err
    fact = f'energy: {report["energy_wh"]:.3g} Wh, {report["co2_grams"]:.3g} g CO2e ({report["energy_source"]})'
    assert fact in printed.out
    assert f'- {fact}' in (tmp_path / 'run/report.md').read_text().splitlines()
    assert logging.getLogger('codecarbon').filters == []


def test_energy_is_power_times_time(tmp_path):
    seen = {}

    class Witness(Hook):
        def before_train(self, runner):
            seen['begun'] = time.monotonic()

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            time.sleep(0.1)

        def after_train(self, runner):
            energy = runner.find_hook(EnergyHook)
            seen.update(seconds=time.monotonic() - seen['begun'], last=energy._tracker is None)

    config = energy_config(tmp_path / 'run')
    runner = DualModelRunner.from_cfg(config)
    runner.register_hook(Witness(), priority=96)
    readings = []
    hook = runner.find_hook(EnergyHook)
    hook_out = hook.out
    hook.out = lambda total, delta: (readings.append(total), hook_out(total, delta))
    runner.train()

    assert seen['last']  # measured to the end before the report
    total = readings[-1]
    assert total.duration == pytest.approx(seen['seconds'], rel=0.2)
    assert hook.energy_wh == pytest.approx(1000 * (total.cpu_energy + total.gpu_energy + total.ram_energy))
    memory = 1000 * total.ram_energy * 3600 / total.duration
    assert memory == pytest.approx(total.ram_power, rel=0.2)


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('energy') / 'run'
    train(energy_config(work_dir, epochs=2))
    return work_dir


def test_hook_changes_neither_the_training_nor_the_rest_of_the_report(finished, tmp_path):
    train(small_config(tmp_path / 'without', epochs=2))
    with_energy, without = read_report(finished), read_report(tmp_path / 'without')
    assert 'energy' not in (tmp_path / 'without/report.md').read_text()
    assert with_energy.keys() - without.keys() == {'energy_wh', 'co2_grams', 'energy_source'}
    assert with_energy['history'] == without['history']


def test_resumed_run_adds_to_the_totals(finished, tmp_path):
    work_dir = tmp_path / 'run'
    shutil.copytree(finished, work_dir)
    whole = read_report(work_dir)
    config = energy_config(work_dir, epochs=2)
    config.update(resume=True, load_from=str(work_dir / 'epoch_1.pth'))
    restored = []

    class Look(Hook):
        def before_train(self, runner):
            hook = runner.find_hook(EnergyHook)
            restored.extend((hook.energy_wh, hook.co2_grams))

    runner = DualModelRunner.from_cfg(config)
    runner.register_hook(Look())
    runner.train()
    energy_wh, co2_grams = restored
    assert 0 < energy_wh < whole['energy_wh'] and 0 < co2_grams < whole['co2_grams']
    report = read_report(work_dir)
    assert report['energy_wh'] > energy_wh and report['co2_grams'] > co2_grams
    assert report['co2_grams'] == pytest.approx(report['energy_wh'] / 1000 * GRID_OF_GERMANY)
    assert report['energy_source'] == whole['energy_source']


def test_checkpoint_without_energy_resumes_and_the_report_mentions_it(tmp_path):
    train(small_config(tmp_path / 'run'))
    config = energy_config(tmp_path / 'run')
    config.update(resume=True, load_from=str(tmp_path / 'run/epoch_1.pth'))
    train(config)
    report = read_report(tmp_path / 'run')
    assert report['energy_wh'] > 0
    assert report['energy_source'].startswith('nothing counted of the first 1 epochs; ')


@pytest.mark.parametrize('stage', ['before_train', 'after_train_iter'])
def test_no_thread_outlives_a_failing_run(tmp_path, stage):
    runner = DualModelRunner.from_cfg(energy_config(tmp_path / 'run'))
    timers = []

    def fail(*args, **kwargs):
        timers.extend(live_timers())
        raise KeyboardInterrupt

    faulty = Hook()
    setattr(faulty, stage, fail)
    runner.register_hook(faulty, priority='LOWEST')
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert len(timers) == 2
    assert live_timers() == []
    assert logging.getLogger('codecarbon').filters == []


def test_firing_timer_is_stopped():
    """codecarbon's own stop() would leave a timer running."""

    class Tracker:
        def measure(self):
            pass

    theirs = threading.Timer(60, print)
    theirs.start()
    tracker = Tracker()
    scheduler = PeriodicScheduler(interval=0.2, function=tracker.measure)
    scheduler.start()
    scheduler._lock.acquire()
    time.sleep(0.4)  # now it has fired, and is about to set the next
    release = threading.Thread(target=lambda: (time.sleep(0.2), scheduler._lock.release()))
    release.start()
    stop_timers(tracker)
    release.join()
    assert live_timers() == [theirs]
    theirs.cancel()
    theirs.join()


def test_missing_library_raises_one_sentence(tmp_path, monkeypatch):
    real_import = builtins.__import__

    def without_codecarbon(name, *args, **kwargs):
        if name.split('.')[0] == 'codecarbon':
            raise ModuleNotFoundError("No module named 'codecarbon'")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', without_codecarbon)
    with pytest.raises(ConfigError, match=r"^EnergyHook needs codecarbon.*pip install 'motivation\[energy\]'"):
        DualModelRunner.from_cfg(energy_config(tmp_path / 'run'))


@pytest.mark.parametrize(
    ('country', 'help'),
    [('deu', "did you mean 'DEU'"), ('DE', "'DEU'"), ('Atlantis', 'there is ABW, AFG')],
)
def test_unknown_country_raises_one_sentence(tmp_path, country, help):
    with pytest.raises(
        ConfigError, match=rf'^default_hooks\.energy\.country is {country!r}, .* alpha-3 code: .*{help}'
    ):
        DualModelRunner.from_cfg(energy_config(tmp_path / 'run', **{'default_hooks.energy.country': country}))


def test_missing_country_raises_one_sentence(tmp_path):
    config = energy_config(tmp_path / 'run')
    del config.default_hooks.energy['country']
    with pytest.raises(ConfigError, match=r'default_hooks\.energy\.country is missing; EnergyHook needs it'):
        DualModelRunner.from_cfg(config)


def test_codecarbon_failure_raises_before_training(tmp_path, monkeypatch):
    def fail(tracker):
        raise OSError('no such counter')

    monkeypatch.setattr('codecarbon.emissions_tracker.BaseEmissionsTracker._ensure_hardware_ready', fail)
    runner = DualModelRunner.from_cfg(energy_config(tmp_path / 'run'))
    with pytest.raises(ConfigError, match=r"codecarbon does not work on this machine, and '.*' says why"):
        runner.train()
    assert any('no such counter' in path.read_text() for path in (tmp_path / 'run').rglob('*.log'))
    assert live_timers() == []


def test_other_ranks_do_not_measure(tmp_path):
    hook = EnergyHook('DEU')
    hook.before_train(SimpleNamespace(rank=1))
    assert live_timers() == []
    hook.after_train(SimpleNamespace(rank=1))


def test_hardware_description_separates_measured_from_estimated():
    def part(kind, **fields):
        return type(kind, (), fields)()

    memory, gpu = part('RAM'), part('GPU')
    assert describe_hardware([memory, part('CPU', _mode='intel_rapl'), gpu]) == (
        'memory estimated from its size, CPU measured, GPU measured'
    )
    assert describe_hardware([part('CPU', _mode='cpu_load', _tdp=280.0)]) == (
        'CPU estimated from its load and 280 W at full load'
    )
    assert describe_hardware([part('CPU', _mode='constant', _tdp=85)]) == 'CPU estimated as half of 85 W'
    assert describe_hardware([part('AppleSiliconChip', chip_part='CPU')]) == 'CPU measured'
