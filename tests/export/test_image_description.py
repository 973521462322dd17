from motivation.engine.runner import DualModelRunner
from motivation.export.image_description import describe_images
from tests.small import small_config


def test_mode_of_a_data_set_without_such_an_argument_is_that_of_its_channels(tmp_path):
    described = describe_images(DualModelRunner.from_cfg(small_config(tmp_path / 'run', 1)))
    assert (described['input_size'], described['image_mode']) == ([1, 8, 8], 'L')
