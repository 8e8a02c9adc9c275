"""Check the masks of COCO annotations before pycocotools reads them.

pycocotools takes a polygon of four numbers for a box, and fails late or reads
beyond its memory on other faults.
"""

import math
from typing import Optional

import numpy as np

from dense_ssl.errors import UserError

__all__ = ['mask_fault', 'rle_counts']


def mask_fault(segmentation, height: int, width: int) -> Optional[str]:
    """What is wrong with a mask, or None.

    Args:
        segmentation: As COCO has it: polygons, or an RLE (``size`` and
            ``counts``, as a list or compressed). Empty or None is no mask.
        height, width (int): Of the image, in pixels.
    """
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        for polygon in segmentation:
            fault = _polygon_fault(polygon)
            if fault:
                return fault
        return None
    if not isinstance(segmentation, dict):
        return f'is {segmentation!r:.60}; polygons [[x, y, ...], ...] or an RLE is needed'
    return _rle_fault(segmentation, height, width)


def _polygon_fault(polygon) -> Optional[str]:
    if not isinstance(polygon, list) or not all(
        isinstance(v, (int, float))
        and not isinstance(v, bool)
        and math.isfinite(v)
        and abs(v) < 1e6
        for v in polygon
    ):
        return f'has the polygon {polygon!r:.60}; a list of numbers [x, y, ...] in pixels is needed'
    if len(polygon) < 6 or len(polygon) % 2:
        return (
            f'has a polygon of {len(polygon)} numbers; x and y of 3 '
            'points at least, an even count of 6 or more, are needed'
        )
    return None


def _rle_fault(rle: dict, height: int, width: int) -> Optional[str]:
    size, counts = rle.get('size'), rle.get('counts')
    if not isinstance(counts, (list, str)):
        return 'is an RLE without "counts", a list or a text'
    if not isinstance(size, list) or size != [height, width]:
        return f'is an RLE of size {size}, the image has [height, width] [{height}, {width}]'
    try:
        counts = rle_counts(counts)
    except ValueError as error:
        return f'is an RLE whose counts {error}'
    if len(counts) and (
        counts.min() < 0 or counts.max() > height * width or counts.sum() != height * width
    ):
        return (
            f'is an RLE whose counts add up to {counts.sum()} pixels, '
            f'not {height} x {width} = {height * width}'
        )
    return None if len(counts) else 'is an RLE without counts'


def rle_counts(counts) -> np.ndarray:
    """Lengths of the runs of an RLE, int64, from a list or from COCO's text.

    In the text a number is written in groups of 5 bits, the least significant
    first, as characters from code 48 on; bit 32 says that another follows, bit
    16 of the last one is the sign. From the fourth number on it is the
    difference to the number two before.

    Raises:
        UserError: If it is no such list or text.
    """
    if isinstance(counts, list):
        if not all(isinstance(c, int) for c in counts):
            raise UserError('are not whole numbers')
        try:
            return np.array(counts, np.int64)
        except OverflowError:
            raise UserError('are too large') from None
    text = counts.encode('utf-8', 'surrogatepass')
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not len(codes):
        return codes
    if codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise UserError('are damaged')
    last = (codes & 32) == 0
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    if place.max() > 7:
        raise UserError('are damaged')
    bits = (codes & 31) << (5 * place)
    bits -= np.where(last & (codes & 16 > 0), 1 << (5 * (place + 1)), 0)
    numbers = np.add.reduceat(bits, starts)
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers
