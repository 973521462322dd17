import hashlib
import json
from pathlib import Path

import pytest

from motivation.errors import ConfigError
from motivation.export.opened_model import OpenedModel
from motivation.export.parity_check import require_as_measured


@pytest.fixture
def measured():
    """A file of more than one part, and the path of its report."""
    path = Path('model.onnx')
    path.write_bytes(bytes(range(256)) * 5000)
    report = {'accepted': True, 'reason': None, 'sha256': hashlib.sha256(path.read_bytes()).hexdigest()}
    Path('model.onnx.parity.json').write_text(json.dumps(report))
    return path, Path('model.onnx.parity.json'), report


def test_file_with_another_bit_is_refused_before_it_is_loaded(measured):
    path, _, _ = measured
    require_as_measured(path)
    content = bytearray(path.read_bytes())
    content[1_200_000] ^= 1
    path.write_bytes(content)
    Path('description.json').write_text('{}')
    with pytest.raises(ConfigError, match=r"^'model\.onnx' is damaged or replaced: its SHA-256 is not that in '.*'; "):
        OpenedModel.open(path)


def test_file_that_was_not_accepted_is_refused_with_the_reason(measured):
    path, report, content = measured
    report.write_text(json.dumps(content | {'accepted': False, 'reason': 'logits differ by 0.1'}))
    with pytest.raises(ConfigError, match=r"^'model\.onnx' was refused at its export \(logits differ by 0\.1\); use"):
        require_as_measured(path)


@pytest.mark.parametrize('content', ['', '[]', '{"sha256": 5}', '{"accepted": "no"}', '\x00'])
def test_damaged_report_is_one_sentence(measured, content):
    path, report, _ = measured
    report.write_text(content)
    with pytest.raises(ConfigError, match=r"^'model\.onnx\.parity\.json' is damaged, so that 'model\.onnx' cannot be"):
        require_as_measured(path)


def test_file_without_a_report_or_digest_is_not_checked(measured):
    path, report, _ = measured
    report.write_text('{"accepted": true}')
    require_as_measured(path)
    report.unlink()
    require_as_measured(path)
