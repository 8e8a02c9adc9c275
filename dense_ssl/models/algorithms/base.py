"""What every algorithm here has: online networks and their momentum copy."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Optional, Union

import torch
from mmpretrain.models.selfsup import BaseSelfSupervisor
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from dense_ssl.errors import UserError
from dense_ssl.former import old_arguments
from dense_ssl.registry import MODELS

from ..momentum_encoder import MomentumEncoder
from ..widths import check_widths, follow, map_channels

#: What torch takes as 0 without a word.
_SIZES = {f'{x}_channels' for x in ('in', 'hidden', 'out', 'conv', 'feat')} | {'num_levels'}


def build_part(cfg: Union[dict, nn.Module, None]) -> Any:
    """Build ``cfg`` in scope ``dense_ssl``, whatever scope is the default."""
    if cfg is None or isinstance(cfg, nn.Module):
        return cfg
    for key, value in cfg.items():
        if key in _SIZES and isinstance(value, (int, float)) and value < 1:
            raise UserError(f'{cfg.get("type")}: {key}={value} must be 1 or more')
    kind, depth = cfg.get('type'), cfg.get('depth')
    known = getattr(MODELS.get(kind) if isinstance(kind, str) else kind, 'arch_settings', None)
    if depth is not None and isinstance(known, dict) and depth not in known:
        raise UserError(f'depth={depth!r}: {kind} has {", ".join(map(str, known))}')
    return MODELS.build({'_scope_': 'dense_ssl', **cfg})


def build_preprocessor(cfg: Union[dict, nn.Module, None]) -> Any:
    """As :func:`build_part`; ``DenseDataPreprocessor`` unless ``cfg`` says another."""
    return build_part(
        cfg if isinstance(cfg, nn.Module) else {'type': 'DenseDataPreprocessor', **(cfg or {})}
    )


class MomentumSelfSupervisor(BaseSelfSupervisor):
    """Online backbone, neck and projector with a momentum copy.

    Names in the checkpoint: ``backbone.``, ``neck.`` (a feature neck such as
    an FPN, if there is one) and ``projector.`` are online, the copies lie
    under ``momentum_encoder.``.

    Args:
        backbone, projector, head (dict): Parts to build. Of projector, neck
            and extra networks ``in_channels=None`` stands for the channels of
            the maps that they are given.
        neck (dict, optional): Feature neck between backbone and projector.
        extra_networks (dict[str, dict], optional): Further online networks
            that need a copy, by the name they get in the checkpoint (MCL's
            ``region_head``).
        momentum (float): Weight of the old value in the momentum update.
        end_momentum (float, optional): Its value at the end of training
            (cosine). None keeps it constant.
        first_step (int): See :class:`MomentumEncoder`.
        data_preprocessor (dict, optional): Defaults to
            ``DenseDataPreprocessor`` without normalisation.

    Raises:
        UserError: The neck, or without one the projector, takes other maps
            than the backbone gives.

    Attributes:
        observed (dict, optional): A dict asks the next step to leave there what :meth:`observe`
            is given, by name. None (default): nobody looks.
    """

    #: Extra networks that read the backbone's last map, even where there is a neck.
    reads_backbone: tuple[str, ...] = ()
    observed: Optional[dict[str, Any]] = None

    @old_arguments(more_networks='extra_networks')
    def __init__(
        self,
        backbone: dict,
        projector: Optional[dict] = None,
        head: Optional[dict] = None,
        neck: Optional[dict] = None,
        extra_networks: Optional[dict[str, Optional[dict]]] = None,
        momentum: float = 0.999,
        end_momentum: Optional[float] = None,
        first_step: int = 1,
        data_preprocessor: Optional[dict] = None,
        init_cfg: Union[dict, list[dict], None] = None,
    ) -> None:
        bands = backbone.get('in_channels', 3) if isinstance(backbone, dict) else 3
        body = build_part(backbone)
        neck = follow(neck, lambda: map_channels(body, in_channels=bands))
        super().__init__(
            backbone=body,
            neck=build_part(neck),
            head=build_part(head),
            data_preprocessor=build_preprocessor(data_preprocessor),
            init_cfg=init_cfg,
        )
        reader = 'projector' if neck is None else 'neck'
        check_widths(body, bands, reader, dict(projector=projector, neck=neck)[reader])

        def last_map(*networks: Optional[nn.Module]) -> int:
            return map_channels(*(n for n in networks if n is not None), in_channels=bands)[-1]

        extra: dict[str, Optional[nn.Module]] = {}
        for name, network in (extra_networks or {}).items():
            after = None if name in self.reads_backbone else self.neck
            extra[name] = build_part(follow(network, partial(last_map, body, after)))
        # Registered in this order: optimisers' states in checkpoints count on it.
        self.projector = build_part(
            follow(projector, lambda: last_map(body, self.neck, extra.get('tower')))
        )
        self._extra_networks = tuple(extra)
        for name, built in extra.items():
            self.add_module(name, built)
        self.momentum_encoder = MomentumEncoder(
            self.online_networks(),
            momentum=momentum,
            end_momentum=end_momentum,
            first_step=first_step,
        )

    def online_networks(self) -> dict:
        """The networks that have a momentum copy, by name."""
        return dict(
            backbone=self.backbone,
            neck=self.neck,
            projector=self.projector,
            **{name: getattr(self, name) for name in self._extra_networks},
        )

    def init_weights(self) -> None:
        """Initialise the online networks and start the copy from them."""
        super().init_weights()
        self.momentum_encoder.copy_online()

    def observe(self, name: str, value: Union[Tensor, Callable], *args: Any) -> None:
        """Show ``value``, or ``value(*args)``, to who asked; the first one of a name counts."""
        if self.observed is not None and name not in self.observed:
            with torch.no_grad():
                self.observed[name] = value.detach() if isinstance(value, Tensor) else value(*args)

    @staticmethod
    def check_views(inputs: Sequence[Tensor], views: int) -> None:
        """Raise ValueError unless there are ``views`` views (N, 3, H, W)."""
        if isinstance(inputs, Tensor) or len(inputs) != views:
            got = (
                f'one tensor {tuple(inputs.shape)}'
                if isinstance(inputs, Tensor)
                else f'{len(inputs)}'
            )
            raise UserError(
                f'{views} views per image wanted, got {got}: set num_views '
                'of GeometricMultiView in the pipeline, and '
                "collate_fn=dict(type='collate_views')"
            )

    @staticmethod
    def check_cells(grids: Iterable[Sequence[int]]) -> None:
        """Raise UserError where no map has more than one cell: nothing could correspond."""
        if all(max(grid) == 1 for grid in grids):
            raise UserError(
                'the feature maps have a single cell, so that there is nothing dense to learn: '
                'larger views are needed (--view-size; a ResNet has a cell for 32 pixels), '
                'or another num_grid or max_grid'
            )

    @staticmethod
    def view_boxes(data_samples: Sequence[DataSample], device: torch.device) -> list[Tensor]:
        """View boxes of each view, V tensors (N, 4) on ``device``.

        Raises:
            UserError: If the samples carry none.
        """
        try:
            boxes = torch.stack([torch.as_tensor(s.view_boxes) for s in data_samples])
        except (AttributeError, TypeError) as error:
            raise UserError(
                'the samples carry no view boxes: use '
                'RandomResizedCropWithBox and RandomFlipWithBox inside '
                'GeometricMultiView, and pack with algorithm_keys='
                "('view_boxes', )"
            ) from error
        return list(boxes.to(device, non_blocking=True).unbind(1))
