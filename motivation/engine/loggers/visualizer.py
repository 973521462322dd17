"""A visualizer that makes no figure before it draws."""

from types import SimpleNamespace
from typing import Any

from mmengine.visualization import Visualizer as MMEngineVisualizer

from motivation.registry import VISUALIZERS

# Attributes that MMEngine's constructor sets for drawing.
_FIGURE = ('fig_save_canvas', 'fig_save', 'ax_save', 'dpi')


@VISUALIZERS.register_module()
class Visualizer(MMEngineVisualizer):
    """MMEngine's visualizer, with its figure made on the first use, which saves a second at every start.

    Args:
        name: See :class:`mmengine.visualization.Visualizer`.
        *args: See :class:`mmengine.visualization.Visualizer`.
        **kwargs: See :class:`mmengine.visualization.Visualizer`.

    Example:
        >>> visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    """

    def __init__(self, name: str = 'visualizer', *args: Any, **kwargs: Any) -> None:
        super().__init__(name, *args, **kwargs)
        for name in _FIGURE:
            delattr(self, name)

    def _initialize_fig(self, fig_cfg: dict[str, Any]) -> tuple[Any, Any, Any]:
        return None, SimpleNamespace(get_dpi=float), None  # the constructor deletes them

    def __getattr__(self, name: str) -> Any:
        if name not in _FIGURE:
            raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}')
        self.fig_save_canvas, self.fig_save, self.ax_save = super()._initialize_fig(self.fig_save_cfg)
        self.dpi = self.fig_save.get_dpi()
        return getattr(self, name)
