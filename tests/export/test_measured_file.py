"""A file that crashes, hangs or is damaged is an error of one sentence, and nothing of this process."""

import io
import json
import re

import numpy as np
import pytest

from motivation.export import measure
from motivation.export.exporter import RUNTIMES
from motivation.export.measured_file import DoesNotRunError, MeasuredFile
from tests.export.recorded import RUNTIME, write_recorded

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 4), dtype=np.uint8)
LOGITS = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)


def measured(path, runtime=RUNTIME, **kwargs):
    file = MeasuredFile(runtime, path, **kwargs)
    try:
        file.wait()
        return file, file.run(IMAGES)
    finally:
        file.close()


def test_images_go_in_batches_that_the_file_takes_and_are_timed(tmp_path):
    write_recorded(tmp_path / 'a.npz', IMAGES, LOGITS, 'memory', most=2)
    file = MeasuredFile(RUNTIME, tmp_path / 'a.npz')
    file.wait()
    assert file.takes_uint8 and file.largest_batch == 2
    assert np.array_equal(file.run(IMAGES), LOGITS)
    assert len(file.time(IMAGES[:1], 3, 60.0)) == 3 and len(file.time(IMAGES[:1], 1000, 0.0)) == 1
    assert 2**28 < file.peak_memory() < 2**29
    file.close()


@pytest.mark.parametrize(
    ('fault', 'problem'),
    [
        ('segfault', 'does not run: its process ended with signal SIGSEGV, after "fatal: about to fall"'),
        ('exit', 'does not run: its process ended with exit status 0'),
        ('dtype object', 'does not run: TypeError: logits must be real numbers, got object'),
        ('dtype complex64', 'does not run: TypeError: logits must be real numbers, got complex64'),
        ('hang', 'does not run within 2 seconds'),
    ],
)
def test_crash_hang_and_other_results_are_errors_that_say_how(tmp_path, fault, problem):
    write_recorded(tmp_path / 'a.npz', IMAGES, LOGITS, fault)
    with pytest.raises(DoesNotRunError, match=f'^{re.escape(problem)}$'):
        measured(tmp_path / 'a.npz', patience=2)


@pytest.mark.parametrize(
    'header', [{'shape': [2], 'dtype': 'object'}, {'shape': [2]}, {'shape': 'a', 'dtype': 'f4'}, [1]]
)
def test_answer_that_is_no_message_of_numbers_is_refused(header):
    with pytest.raises(ValueError, match=r'^(a message|an array) must '):
        measure.receive(io.BytesIO(json.dumps(header).encode() + b'\n' + bytes(16)))


def test_images_that_the_file_does_not_take_are_an_error(tmp_path):
    write_recorded(tmp_path / 'a.npz', IMAGES[:4], LOGITS[:4])
    with pytest.raises(DoesNotRunError, match=r'^does not run: KeyError: '):
        measured(tmp_path / 'a.npz')


@pytest.mark.parametrize('content', [b'', b'\x08\x07\x12\x04', b'no graph at all'])
def test_damaged_onnx_file_does_not_load(tmp_path, content):
    pytest.importorskip('onnxruntime')
    (tmp_path / 'model.onnx').write_bytes(content)
    with pytest.raises(DoesNotRunError, match=r"^does not load: ValueError: .*model\.onnx' is not "):
        measured(tmp_path / 'model.onnx', RUNTIMES / 'onnx_graph.py')
