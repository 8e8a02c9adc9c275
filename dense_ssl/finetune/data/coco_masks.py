"""Check the masks of COCO annotations before pycocotools reads them.

pycocotools takes a polygon of four numbers for a box, and fails late or reads
beyond its memory on other faults.
"""

import math
import re
from typing import Optional, Union

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
        runs = rle_counts(counts)
    except UserError as error:
        return f'is an RLE whose counts {error}'
    if not runs:
        return 'is an RLE without counts'
    if min(runs) < 0 or sum(runs) != height * width:
        return (
            f'is an RLE whose counts are negative, too small or too large: they add up to '
            f'{sum(runs)} pixels, {height} x {width} = {height * width} are needed'
        )
    return None


def rle_counts(counts: Union[list, str]) -> list[int]:
    """Lengths of the runs of an RLE, from a list or from COCO's text.

    pycocotools keeps the runs of a text to itself: it reads on behind one that is cut off, and
    takes one that is too short for the image.

    Raises:
        UserError: If it is no such list or text.
    """
    if isinstance(counts, list):
        if not all(isinstance(c, int) for c in counts):
            raise UserError('are not whole numbers')
        return counts
    # Groups of 5 bits, least significant first; bit 32 of a character says that another follows,
    # which pycocotools trusts, and shifts as far as it is told to.
    if not re.fullmatch('([P-o]{0,7}[0-O])*', counts):
        raise UserError('are damaged')
    runs: list[int] = []
    for number in re.findall('[P-o]*[0-O]', counts):
        run = sum((ord(c) - 48 & 31) << 5 * i for i, c in enumerate(number))
        if number[-1] >= '@':  # bit 16 of the last character is the sign
            run -= 1 << 5 * len(number)
        # From the fourth on, the difference to the run two before.
        runs.append(run + runs[-2] if len(runs) > 2 else run)
    return runs
