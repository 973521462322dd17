import numpy as np
from mmengine.visualization import Visualizer as MMEngineVisualizer

from motivation.engine.visualizer import Visualizer


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
