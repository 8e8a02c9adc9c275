"""Montages: grids of small images in the place of one large one (MCL)."""

from typing import Optional

import torch
from torch import Tensor, nn

from dense_ssl.errors import UserError
from dense_ssl.registry import MODELS


def lay_out_cells(cells: Tensor, ratio: int) -> Tensor:
    """Put cells (M * ratio^2, C, h, w) side by side.

    Returns:
        Tensor: (M, C, ratio * h, ratio * w), cells row-major.
    """
    _, c, h, w = cells.shape
    grid = cells.reshape(-1, ratio, ratio, c, h, w).permute(0, 3, 1, 4, 2, 5)
    return grid.reshape(-1, c, ratio * h, ratio * w)


def cut_cells(maps: Tensor, ratio: int) -> Tensor:
    """Inverse of :func:`lay_out_cells`, for images and feature maps.

    Args:
        maps (Tensor): (M, C, H, W).
        ratio (int): Cells per side.

    Returns:
        Tensor: (M * ratio^2, C, H / ratio, W / ratio), cells row-major.

    Raises:
        UserError: If the map does not cut into equal cells.
    """
    m, c, height, width = maps.shape
    if height % ratio or width % ratio:
        raise UserError(
            f'a map of {height}x{width} does not cut into {ratio}x{ratio} '
            'equal cells: give the views a size (view_size) that is a '
            "multiple of the backbone's last stride (32 for a ResNet), and "
            'levels whose ratio is the last stride over their own'
        )
    grid = maps.reshape(m, c, ratio, height // ratio, ratio, width // ratio)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(m * ratio**2, c, height // ratio, width // ratio)


def draw_cells(
    batch_size: int,
    num_cells: int,
    generator: Optional[torch.Generator] = None,
    device: Optional[torch.device] = None,
) -> Tensor:
    """Which image goes into which cell: int64 (num_cells, ).

    A permutation of the cells modulo the batch size, so that every image is
    drawn equally often, up to one (MCL, released code).
    """
    if batch_size < 1 or num_cells < 1:
        raise UserError(f'{num_cells} cells cannot be filled from {batch_size} images')
    drawn_on = device if generator is None else generator.device
    order = torch.randperm(num_cells, generator=generator, device=drawn_on)
    return (order % batch_size).to(device)


def assemble(
    images: Tensor, labels: Tensor, ratio: int, montage_size: Optional[int] = None
) -> Tensor:
    """Montages of given images.

    Args:
        images (Tensor): (B, C, S, S).
        labels (Tensor): Image of each cell, int64 (M, ratio^2), row-major.
        ratio (int): Cells per side.
        montage_size (int, optional): Side of a montage in pixels: S, then
            the images are subsampled (every ratio-th pixel, no low-pass, as
            released), or ratio * S, then they are cells as they are. None
            means S.

    Returns:
        Tensor: (M, C, montage_size, montage_size).

    Raises:
        UserError: If the images are not square, or the sizes do not fit.
    """
    height, width = images.shape[-2:]
    size = montage_size or height
    if height != width:
        raise UserError(
            f'montages are made of square images, got {height}x{width}: set one number as view_size'
        )
    if size == ratio * height:
        step = 1
    elif size == height and size % ratio == 0:
        step = ratio
    elif size == height:
        raise UserError(
            f'images of {size} pixels do not divide into '
            f'{ratio} cells a side: use a view_size that is a '
            f'multiple of {ratio}'
        )
    else:
        raise UserError(
            f'images of {height} pixels make no montage of {size} pixels at '
            f'ratio {ratio}: give them {size} pixels (subsampled here) or '
            f'{size / ratio:g} (direct)'
        )
    cells = images[:, :, ::step, ::step].index_select(0, labels.flatten())
    return lay_out_cells(cells, ratio)


@MODELS.register_module()
class MontageAssembler(nn.Module):
    """Shrink images and lay them out in grids (MCL, arXiv 2304.02010).

    It has no parameters and works where the images are.

    Args:
        ratio (int): Cells per side of a montage; 1 returns images.
    """

    def __init__(self, ratio: int) -> None:
        super().__init__()
        if not isinstance(ratio, int) or ratio < 1:
            raise UserError(f'ratio={ratio} must be a positive integer')
        self.ratio = ratio

    def forward(
        self,
        images: Tensor,
        num_montages: int,
        generator: Optional[torch.Generator] = None,
        montage_size: Optional[int] = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw images and assemble them.

        Args:
            images (Tensor): (B, 3, S, S).
            num_montages (int): M. Any number; B need not divide M * ratio^2.
            generator (torch.Generator, optional): Source of the draw.
                Defaults to the global one of the images' device.
            montage_size (int, optional): See :func:`assemble`.

        Returns:
            tuple: Montages (M, 3, S, S), or of ``montage_size``; labels, the
            index of each cell's image, int64 (M, ratio^2), row-major.

        Raises:
            UserError: If sizes do not fit, or there is nothing to fill or
                to fill with.
        """
        labels = draw_cells(
            len(images), num_montages * self.ratio**2, generator, images.device
        ).view(num_montages, self.ratio**2)
        return assemble(images, labels, self.ratio, montage_size), labels

    def extra_repr(self) -> str:
        return f'ratio={self.ratio}'
