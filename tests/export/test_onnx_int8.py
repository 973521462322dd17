import io
import logging
import runpy
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from motivation.errors import ConfigError
from motivation.export import onnx_int8
from motivation.registry import EXPORTERS
from tests.export.trained_digits import digits, trained_digits

INT8 = EXPORTERS.get('onnx_int8')
LOAD = runpy.run_path(str(INT8.runtime))['load']


@pytest.fixture(scope='module')
def quantised(tmp_path_factory):
    """The file of a quantised model of uint8 images, and what was printed meanwhile."""
    path, printed = tmp_path_factory.mktemp('exported') / INT8.file, io.StringIO()
    handlers = list(logging.getLogger().handlers)
    with redirect_stdout(printed), redirect_stderr(printed):
        INT8().export(trained_digits(raw_input=True), digits('train')[0][:100], path)
    assert logging.getLogger().handlers == handlers
    return path, printed.getvalue()


def test_quantised_model_predicts_as_the_model_for_batches_of_any_size(quantised):
    loaded = LOAD(quantised[0])
    assert loaded.takes_uint8 and loaded.largest_batch is None
    images, targets = digits('test')
    model = trained_digits().model
    with torch.no_grad():
        expected = model(model.data_preprocessor({'inputs': images})['inputs']).numpy()
    logits = loaded(images.numpy())
    right, expected_right = ((values.argmax(1) == targets.numpy()).mean() for values in (logits, expected))
    assert abs(right - expected_right) < 0.01
    assert 0 < np.abs(logits - expected).max() < 0.15 * np.abs(expected).max()
    assert np.allclose(loaded(images[:1].numpy()), logits[:1], atol=1e-5)


def test_weights_are_stored_in_7_bits_with_a_scale_for_each_channel(quantised):
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(quantised[0]).graph.initializer}
    weights = {
        name.removesuffix('_quantized'): value
        for name, value in stored.items()
        if name.endswith('weight_quantized')
    }  # fmt: skip
    assert len(weights) == 10  # nine convolutions, those between stages included, and the last layer
    for name, value in weights.items():
        assert value.dtype == np.int8 and np.abs(value.astype(int)).max() == 64
        assert stored[f'{name}_scale'].shape == (10 if 'fc' in name else len(value),)
        assert not stored[f'{name}_zero_point'].any()


def test_file_is_small_and_says_the_same_as_the_file_in_float(quantised):
    path, printed = quantised
    assert printed == '' and [file.name for file in path.parent.iterdir()] == ['model_int8.onnx']
    parameters = sum(parameter.numel() for parameter in trained_digits().model.parameters())
    assert path.stat().st_size < 1.5 * parameters  # 4 bytes each in float
    model = onnx.load(path)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [('', 18)]
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said['input'] == 'uint8 images, 0 to 255'
    assert set(said) == {'input', *trained_digits().metainfo}


def test_failure_of_onnx_runtime_is_one_sentence_and_leaves_no_file(monkeypatch, tmp_path):
    def fail(*args):
        raise RuntimeError('no such operator')

    monkeypatch.setattr(onnx_int8, '_quantise', fail)
    monkeypatch.setattr(onnx_int8, 'build_model', lambda *args: None)
    with pytest.raises(ConfigError, match=r"^ONNX Runtime cannot quantise the model: .*no such operator.* as 'onnx'"):
        INT8().export(trained_digits(), digits('train')[0][:2], tmp_path / INT8.file)
    assert list(tmp_path.iterdir()) == []
