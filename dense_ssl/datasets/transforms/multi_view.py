"""Several views of one image, each with its box."""

import copy
from collections.abc import Sequence
from typing import Optional, Union

import numpy as np
from mmpretrain.datasets import MultiView

from dense_ssl.config_tree import type_name
from dense_ssl.errors import UserError
from dense_ssl.registry import TRANSFORMS

from .color import ColorParams, RandomColor
from .geometry import RandomFlipWithBox

__all__ = ['GeometricMultiView', 'build_transforms']

CROP = 'RandomResizedCropWithBox'


def build_transforms(pipeline: Sequence) -> list:
    """Build transforms by their names in dense_ssl, whatever the scope is."""
    with TRANSFORMS.switch_scope_and_registry('dense_ssl'):
        return [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline]


@TRANSFORMS.register_module()
class GeometricMultiView(MultiView):
    """mmpretrain's MultiView that keeps the views' boxes.

    All views are made from the one decoded image, which is not copied (the
    original copies it for every view); it is read-only meanwhile.

    **Required Keys:** img (np.ndarray, (H, W, 3), uint8)

    **Modified Keys:** img (a list of V arrays, views may differ in size)

    **Added Keys:** view_boxes (np.ndarray, (V, 4), float32: x1, y1, x2, y2 of
    each view; see :mod:`~dense_ssl.datasets.transforms.view_box`),
    view_colors (np.ndarray, (V, ), ``COLOR_PARAMS``; only if a pipeline
    leaves its colors to the device)

    Args:
        transforms (list[list[dict]]): One pipeline for each kind of view.
        num_views (int | list[int]): Views of each kind.
        view_size (int | Sequence[int], optional): Size in pixels, one number
            or (height, width), of all RandomResizedCropWithBox that state no
            ``scale`` of their own.

    Raises:
        UserError: A crop has no size at all, a view has no box, or something
            other than a flip follows colors that are left to the device.
    """

    def __init__(
        self,
        transforms: list[list],
        num_views: Union[int, list[int]],
        view_size: Optional[Union[int, Sequence[int]]] = None,
    ):
        self.view_size = view_size
        pipelines = [
            build_transforms(self._with_size(copy.deepcopy(pipeline))) for pipeline in transforms
        ]
        for pipeline in pipelines:
            self._check_order(pipeline)
        super().__init__(pipelines, num_views)

    @staticmethod
    def _check_order(pipeline: list) -> None:
        late = [s for s in pipeline if getattr(s, 'on_device', False)]
        after = pipeline[pipeline.index(late[0]) + 1 :] if late else []
        for step in after:
            if not isinstance(step, RandomFlipWithBox):
                raise UserError(
                    f'{type(step).__name__} follows {RandomColor.__name__}'
                    '(on_device=True), whose colors are changed after the '
                    'whole pipeline: only RandomFlipWithBox may follow'
                )

    def _with_size(self, pipeline: list) -> list:
        for step in pipeline:
            if not (isinstance(step, dict) and type_name(step).endswith(CROP)):
                continue
            step.setdefault('scale', self.view_size)
            if step['scale'] is None:
                raise UserError(
                    f'the size of the views is not given: set view_size of '
                    f'{type(self).__name__}, or scale of {step["type"]}'
                )
        return pipeline

    def transform(self, results: dict) -> dict:
        results['img'].flags.writeable = False
        views = [pipeline(dict(results)) for pipeline in self.transforms]
        missing = [i for i, v in enumerate(views) if 'view_box' not in v]
        if missing:
            raise UserError(
                f'no view_box was recorded for views {missing}: use {CROP} in their pipelines'
            )
        # Pillow's arrays are read-only, which torch warns about
        results['img'] = [np.require(v['img'], None, 'W') for v in views]
        results['view_boxes'] = np.stack([view['view_box'] for view in views])
        if any('view_color' in view for view in views):
            nothing = ColorParams().row()
            results['view_colors'] = np.stack([view.get('view_color', nothing) for view in views])
            results['view_colours'] = results['view_colors']  # its old name, for PackInputs
        return results
