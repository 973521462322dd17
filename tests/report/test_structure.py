import json

import pytest

from motivation.errors import ConfigError
from motivation.report.structure import ModelScores, RunReport, Validation
from tests.report.reports import model_compute, model_report, run_report

COUNTED = {'distillation_iters', 'total_train_flops', 'motivated_alone_train_flops', 'saving'}


def report(counted=True, **values):
    compute = model_compute() if counted else None
    scores = ModelScores({'accuracy/top1': 75.0}, 10**12 if counted else None)
    model = model_report({'accuracy/top1': 75.0}, compute)
    return run_report(model, model, [Validation(1, 40, {'base': scores, 'motivated': scores})], **values)


@pytest.mark.parametrize('one', [report(), report(counted=False), report(counted=False, not_counted='no formula')])
def test_report_is_restored_from_json(one):
    assert RunReport.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_compute_keys_exist_only_if_counted():
    counted, not_counted = report().to_json(), report(counted=False, not_counted='no formula').to_json()
    assert counted.keys() - not_counted.keys() == COUNTED and not_counted['compute'] == 'not counted: no formula'
    assert {'train_flops', 'images', 'seconds'} <= counted['base'].keys() - not_counted['base'].keys()
    assert not_counted['base'].keys() == {'model', 'params', 'iters', 'metrics', 'best'}
    assert not_counted['history'][0]['base'] == {'metrics': {'accuracy/top1': 75.0}}
    assert 'compute' not in counted


def test_values_of_hooks_are_kept():
    data = report().to_json()
    data['energy_wh'], data['base']['layers'] = 1.5, 8
    read = RunReport.from_json(data)
    assert read.extra == {'energy_wh': 1.5} and read.base.extra == {'layers': 8} and read.motivated.extra == {}
    assert read.to_json() == data


@pytest.mark.parametrize('text', ['', '[]', '{}', '{"policy": "Never()", "base": 3}'])
def test_invalid_report_is_an_error(tmp_path, text):
    (tmp_path / 'report.json').write_text(text)
    with pytest.raises(ConfigError, match=r"report\.json' is corrupted or not a report of this version"):
        RunReport.read(tmp_path / 'report.json')
