"""Batches of views to the training device, colored and normalised there."""

from collections.abc import Sequence
from typing import Optional

import numpy as np
import torch
from mmpretrain.models import SelfSupDataPreprocessor

from dense_ssl.color_params import COLOR_PARAMS
from dense_ssl.modules import AnyBands
from dense_ssl.registry import MODELS

from .batch_color import batch_color

__all__ = ['DenseDataPreprocessor']


@MODELS.register_module()
class DenseDataPreprocessor(AnyBands, SelfSupDataPreprocessor):
    """mmpretrain's preprocessor of multi-view batches, moving less.

    The views travel as uint8 and become floating point on the device. Their
    colors are changed there too if the samples carry ``view_colors``
    (``RandomColor(on_device=True)``, see :func:`batch_color`).

    Data samples stay on the host, where the original moves every sample of
    the batch in a copy of its own: an algorithm that needs their
    ``view_boxes`` stacks and moves all of them at once. The boxes come as
    arrays, because a loader's worker hands over a tensor as an open file, one
    for every sample; here they become tensors.

    Args:
        mean, std (Sequence[float]): Per channel, on the scale 0..255, in the
            channel order of the images (RGB here). ``(x - mean) / std``.
        non_blocking (bool): Do not wait for the copies of the views; they
            overlap with the step when the loader pins memory. Defaults to
            True.
        **kwargs: As :class:`mmpretrain.models.SelfSupDataPreprocessor`.
    """

    def __init__(self, mean=None, std=None, non_blocking=True, **kwargs):
        super().__init__(mean=mean, std=std, non_blocking=non_blocking, **kwargs)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Move and normalise a batch of default_collate.

        Args:
            data (dict): ``inputs``, a list of V uint8 (or float) tensors
                (N, C, H, W), or one such tensor; ``data_samples``, a list of
                N data samples, or None.
            training (bool): Unused, as in the original.

        Returns:
            dict: ``inputs``, normalised float32 on the device, and
            ``data_samples`` on the host, with ``view_boxes`` as float32
            tensors (V, 4).
        """
        inputs = self.cast_data(data['inputs'])
        single = isinstance(inputs, torch.Tensor)
        views = [inputs] if single else inputs
        samples = data.get('data_samples')
        colors = self._colors(samples)
        views = [
            self._normalise(view, None if colors is None else colors[:, index])
            for index, view in enumerate(views)
        ]
        for sample in samples or ():
            if isinstance(boxes := sample.get('view_boxes'), np.ndarray):
                sample.set_field(torch.from_numpy(boxes), 'view_boxes')
        return dict(inputs=views[0] if single else views, data_samples=samples)

    @staticmethod
    def _colors(samples: Optional[Sequence]) -> Optional[np.ndarray]:
        """``view_colors`` (N, V) on the host, None if there are none."""
        for key in ('view_colors', 'view_colours'):  # the old name
            if samples and key in samples[0]:
                # numpy takes long to stack arrays with named fields
                rows = b''.join(sample.get(key) for sample in samples)
                return np.frombuffer(rows, COLOR_PARAMS).reshape(len(samples), -1)
        return None

    def _normalise(self, view: torch.Tensor, colors: Optional[np.ndarray]) -> torch.Tensor:
        if self._channel_conversion:
            view = view.flip(1)  # an index of a list would wait
        if colors is not None:
            view = batch_color(view, colors)
        if not self._enable_normalize:
            return view.float()
        # The subtraction also converts: one new tensor, no uint8 -> float pass
        return torch.sub(view, self.mean).div_(self.std)
