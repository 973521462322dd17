import json

import numpy as np
from mmengine.visualization import LocalVisBackend
from mmengine.visualization import Visualizer as MMEngineVisualizer

from motivation.engine.loggers.visualizer import Visualizer
from motivation.utils.logs import forget_later_steps


def test_figure_is_made_on_first_use_and_equals_mmengines():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    drawn = []
    for kind in (MMEngineVisualizer, Visualizer):
        visualizer = kind.get_instance('of this test')
        assert ('fig_save' in vars(visualizer)) == (kind is MMEngineVisualizer)
        visualizer.set_image(image)
        visualizer.draw_bboxes(np.array([[5, 5, 30, 20]]))
        drawn.append(visualizer.get_image())
    assert np.array_equal(*drawn) and not np.array_equal(drawn[0], image)


def test_unknown_attribute_raises():
    assert not hasattr(Visualizer.get_instance('bare'), 'nonsense')


def test_steps_that_a_resumed_run_repeats_are_forgotten_wherever_they_are_written(tmp_path):
    local = LocalVisBackend(save_dir=str(tmp_path / 'mine'), scalar_save_file='my.json')
    visualizer = Visualizer('elsewhere', vis_backends=[local])
    for step in range(1, 5):
        visualizer.add_scalars({'loss': 1.0}, step=step, file_path='log.json')
    forget_later_steps(visualizer, tmp_path / 'log', 2)
    for name in ('my.json', 'log.json'):
        lines = (tmp_path / 'mine' / name).read_text().splitlines()
        assert [json.loads(line)['step'] for line in lines] == [1, 2]
