"""Loading of images of any kind as RGB."""

from mmcv.transforms import BaseTransform

from dense_ssl.registry import TRANSFORMS

from ..image_reading import read_rgb

__all__ = ['LoadRGBImage']


@TRANSFORMS.register_module()
class LoadRGBImage(BaseTransform):
    """Read ``img_path`` as upright 8-bit RGB, whatever kind of file it is.

    See :func:`~dense_ssl.datasets.image_reading.read_rgb` for what is done to
    gray, transparent, CMYK, palette, 16-bit, rotated and animated files.

    **Required Keys:** img_path (str)

    **Added Keys:** img (np.ndarray, (H, W, 3), uint8, RGB), img_shape,
    ori_shape ((H, W))

    Raises:
        UnreadableImage: Names the file and what is wrong with it.
    """

    def transform(self, results: dict) -> dict:
        results['img'] = img = read_rgb(results['img_path'])
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
