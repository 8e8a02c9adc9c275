"""A recipe's model made small enough for a CPU, its structure kept."""

from typing import Any

from mmengine.config import Config

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


def make_small(cfg: Config, width: int, depth: int = 18) -> None:
    """ResNet-18 (or ``depth``), heads of at most ``width`` channels, few proposals.

    Channels that come from the backbone follow it. For trying things out and
    for comparisons on a CPU; the figures are not the papers'.

    Raises:
        TransferError: A width that is not positive, or no ResNet.
    """
    if width < 8:
        raise TransferError(f'--small wants 8 channels or more, got {width}.')
    model = cfg.model
    if model.backbone.get('type') != 'ResNet':
        raise TransferError(
            f'{cfg.filename}: --small knows ResNet backbones only, this is '
            f'{model.backbone.get("type")}.'
        )
    model.backbone.depth = depth
    # Channels of the four stages.
    stages = [64 * 2**i * (4 if depth >= 50 else 1) for i in range(4)]
    for name, part in model.items():
        if part is not None and name.endswith(('neck', 'head')):
            for head in part if isinstance(part, list) else [part]:
                _narrow(head, width)
                if 'in_index' in head:  # mmseg: reads the backbone
                    head.in_channels = stages[head.in_index]
    if isinstance(model.get('neck', {}).get('in_channels'), (list, tuple)):
        used = model.backbone.get('out_indices', range(4))
        model.neck.in_channels = [stages[stage] for stage in used]
    if model.get('roi_head', {}).get('shared_head'):
        _narrow_c4(model, depth, stages)
    if model.type == 'ImageClassifier':
        model.head.in_channels = stages[-1]
    for limits in (model.get('train_cfg'), model.get('test_cfg')):
        _limit(limits)


def _narrow_c4(model: Any, depth: int, stages: list[int]) -> None:
    """The heads of a C4 detector read the backbone's stages 3 and 4."""
    model.rpn_head.in_channels = stages[2]
    model.roi_head.shared_head.depth = depth
    model.roi_head.bbox_roi_extractor.out_channels = stages[2]
    for name in ('bbox_head', 'mask_head'):
        if model.roi_head.get(name):
            model.roi_head[name].in_channels = stages[3]


def _narrow(node: Any, width: int) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in _WIDTHS and isinstance(value, int):
                node[key] = min(value, width)
            else:
                _narrow(value, width)
    elif isinstance(node, (list, tuple)):
        for child in node:
            _narrow(child, width)


def _limit(node: Any) -> None:
    """Fewer proposals, fewer regions of interest, fewer detections."""
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key in _LIMITS:
            node[key] = min(value, _LIMITS[key])
            if key == 'max_per_img' and 'score_thr' in node:
                # Detections, not proposals: crowded images need them all.
                node[key] = _LIMITS[key]
        elif key == 'sampler' and value.get('num', 0) == 512:
            value['num'] = 64
        else:
            _limit(value)
