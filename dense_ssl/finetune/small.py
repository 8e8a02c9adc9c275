"""A recipe's model made small enough for a CPU, its structure kept."""

from typing import Any

from mmengine.config import Config, ConfigDict

from dense_ssl.config_tree import dicts, type_name
from dense_ssl.errors import TransferError

_WIDTHS = (
    'out_channels',
    'in_channels',
    'feat_channels',
    'channels',
    'conv_out_channels',
    'fc_out_channels',
)
_LIMITS = dict(nms_pre=500, max_per_img=200)


def make_small(cfg: Config, width: int, depth: int = 18, base_channels: int = 64) -> None:
    """ResNet-18 (or ``depth``), heads of at most ``width`` channels, few proposals.

    Channels that come from the backbone follow it. For trying things out and
    for comparisons on a CPU; the figures are not the papers'.

    Args:
        cfg: Changed in place.
        width: Most channels of necks and heads.
        depth: Of the ResNet.
        base_channels: Its channels after the stem; 64 in a usual one.

    Raises:
        TransferError: Too narrow, no ResNet, or a C4 detector with other ``base_channels``.
    """
    if width < 8:
        raise TransferError(f'--small wants 8 channels or more, got {width}.')
    if base_channels < 1:
        raise TransferError(f'--small-base-channels wants 1 or more, got {base_channels}.')
    model = cfg.model
    if type_name(model.backbone) != 'ResNet':
        raise TransferError(
            f'{cfg.filename}: --small knows ResNet backbones only, this is '
            f'{type_name(model.backbone)}.'
        )
    model.backbone.depth = depth
    if base_channels != 64:
        if model.get('roi_head', {}).get('shared_head'):
            raise TransferError(
                f'{cfg.filename}: the shared head of a C4 detector knows 64 base channels only.'
            )
        model.backbone.base_channels = model.backbone.stem_channels = base_channels
    # Channels of the four stages.
    stages = [base_channels * 2**i * (4 if depth >= 50 else 1) for i in range(4)]
    for name, part in model.items():
        if part is not None and name.endswith(('neck', 'head')):
            for node in dicts(part):
                for key in _WIDTHS:
                    if isinstance(node.get(key), int):
                        node[key] = min(node[key], width)
                if 'in_index' in node:  # mmseg: reads the backbone
                    node.in_channels = stages[node.in_index]
    if isinstance(model.get('neck', {}).get('in_channels'), (list, tuple)):
        used = model.backbone.get('out_indices', range(4))
        model.neck.in_channels = [stages[stage] for stage in used]
    if model.get('roi_head', {}).get('shared_head'):
        _narrow_c4(model, depth, stages)
    if type_name(model) == 'ImageClassifier':
        model.head.in_channels = stages[-1]
    for node in dicts([model.get('train_cfg'), model.get('test_cfg')]):
        _limit(node)


def _narrow_c4(model: Any, depth: int, stages: list[int]) -> None:
    """The heads of a C4 detector read the backbone's stages 3 and 4."""
    model.rpn_head.in_channels = stages[2]
    model.roi_head.shared_head.depth = depth
    model.roi_head.bbox_roi_extractor.out_channels = stages[2]
    for name in ('bbox_head', 'mask_head'):
        if model.roi_head.get(name):
            model.roi_head[name].in_channels = stages[3]


def _limit(node: ConfigDict) -> None:
    """Fewer proposals, fewer regions of interest, fewer detections."""
    for key, most in _LIMITS.items():
        if key in node:
            node[key] = min(node[key], most)
    if 'max_per_img' in node and 'score_thr' in node:
        # Detections, not proposals: crowded images need them all.
        node.max_per_img = _LIMITS['max_per_img']
    if 'sampler' in node and node.sampler.get('num') == 512:
        node.sampler.num = 64
