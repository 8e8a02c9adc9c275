"""How the files of other code bases name their weights.

A layout is recognised by the keys it must and must not have, and converted by
an ordered list of rules. ``module.`` of a parallel wrapper is gone already.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

from ..keys import has_match

_RESNET = r'(?=(?:conv1|bn1|layer[1-4]|stem)\.)'

#: (pattern at the beginning of a key, its replacement); ``None`` leaves the
#: key out, and the report says so.
Rule = tuple[str, Optional[str]]


@dataclass(frozen=True)
class Layout:
    """One family of checkpoint files.

    Attributes:
        name: Short name, written into the converted file.
        title: What messages call it.
        requires: Patterns that must each match the beginning of some key.
        forbids: Patterns that must match none.
        rules: The first rule that matches a key decides. A key that none
            matches is refused: the file is not what it seemed.
        note: Said after a conversion.
    """

    name: str
    title: str
    requires: tuple[str, ...]
    rules: tuple[Rule, ...]
    forbids: tuple[str, ...] = ()
    note: str = ''

    def matches(self, keys: Iterable[str]) -> bool:
        keys = list(keys)
        return all(has_match(keys, pattern) for pattern in self.requires) and not any(
            has_match(keys, pattern) for pattern in self.forbids
        )


def _twins(online: str, momentum: str, rules: tuple[Rule, ...]):
    """The rules for the online part and for its momentum copy."""
    return tuple((online + pattern, new) for pattern, new in rules) + tuple(
        (momentum + pattern, new and f'momentum_encoder.{new}') for pattern, new in rules
    )


def _pixpro_mlp(name: str, new: str) -> tuple[Rule, ...]:
    """PixPro's Conv1x1, BN, ReLU, Conv1x1, and the momentum copy's."""
    rules: tuple[Rule, ...] = ()
    for suffix, root in (('', ''), ('_k', 'momentum_encoder.')):
        for old, index in (('linear1', 0), ('bn1', 1), ('linear2', 3)):
            rules += ((rf'{name}{suffix}\.{old}\.', f'{root}{new}.{index}.'),)
    return rules


# Names that no other code base gives.
_OURS = (
    r'projector\.(?:mlps|global_mlp)\.|region_head\.|'
    r'momentum_encoder\.backbone\.'
)
_QUEUES = (
    (r'queue$', 'queue.features'),
    (r'queue2$', 'dense_queue.features'),
    (r'queue_ptr$', 'queue.written'),
    (r'queue2_ptr$', 'dense_queue.written'),
)
_DENSECL_HEADS = (
    (r'mlp\.(?=[02]\.)', 'projector.global_mlp.'),
    (r'mlp2\.(?=[02]\.)', 'projector.dense_mlp.'),
    (r'predictor\.|fc\.', None),
)
# Linear, BN, ReLU, Linear (, BN), as a plain sequence or by mmpretrain's names.
_MLP = (('0', 'fc0'), ('1', 'bn0'), ('3', 'fc1'), ('4', 'bn1'))


# What lightly.ai's examples take of torchvision's ResNet: its children in a row.
_CHILDREN = (('0', 'conv1'), ('1', 'bn1'), *((str(i + 3), f'layer{i}') for i in range(1, 5)))
_LIGHTLY = r'backbone\.(?:0\.weight$|(?:conv1|layer1)\.)'


def _lightly(online: str, momentum: str) -> tuple[Rule, ...]:
    backbones = ((_RESNET, ''), *((rf'{old}\.', f'{new}.') for old, new in _CHILDREN))
    rules = _twins(online, momentum, tuple((old, f'backbone.{new}') for old, new in backbones))
    return (*rules, (r'(?!\w*backbone\w*\.)', None))


#: timm's number in a deep stem, mmpretrain's name; ``bn1`` is ``2.bn``.
TIMM_STEM = ((0, '0.conv'), (1, '0.bn'), (3, '1.conv'), (4, '1.bn'), (6, '2.conv'))


def _mlp_rules(prefix: str, new: str) -> tuple[Rule, ...]:
    return tuple((rf'{prefix}{old}\.', f'{new}{name}.') for old, name in _MLP) + (
        (rf'{prefix}(?=(?:fc|bn)[01]\.)', new),
        (prefix, None),
    )


LAYOUTS = (
    Layout(
        'dense_ssl',
        'a checkpoint of this project',
        requires=(r'backbone\.', _OURS),
        forbids=(r'encoder_[qk]\.', r'neck\.(?!lateral_convs|fpn_convs)'),
        rules=((r'', ''),),
    ),
    Layout(
        'backbone',
        'a backbone, perhaps an FPN, by our names',
        requires=(r'backbone\.',),
        forbids=(r'(?!backbone\.|neck\.(?:lateral|fpn)_convs\.)',),
        rules=((r'backbone\.fc\.', None), (r'', '')),
    ),
    Layout(
        'pixpro',
        'released PixPro',
        requires=(r'encoder\.conv1\.', r'projector\.linear1\.'),
        forbids=(r'neck\.', r'head\.', r'encoder_q\.'),
        rules=(
            (r'encoder(_k)?\.fc\.', None),
            (r'encoder\.' + _RESNET, 'backbone.'),
            (r'encoder_k\.' + _RESNET, 'momentum_encoder.backbone.'),
        )
        + _pixpro_mlp('projector', 'projector.mlps.0')
        + _pixpro_mlp('projector_instance', 'instance_projector.mlps.0')
        + _pixpro_mlp('predictor', 'instance_predictor.mlps.0')
        + (
            (r'value_transform\.linear1\.', 'propagation.value.0.'),
            (r'value_transform\.bn1\.', 'propagation.value.1.'),
            (r'value_transform\.linear2\.', 'propagation.value.3.'),
            (r'value_transform\.', 'propagation.value.'),
        ),
    ),
    Layout(
        'densecl',
        'released DenseCL, with heads and queues',
        requires=(r'encoder_q\.0\.', r'encoder_q\.1\.mlp2\.'),
        rules=_twins(
            r'encoder_q\.0\.', r'encoder_k\.0\.', ((_RESNET, 'backbone.'), (r'fc\.', None))
        )
        + ((r'backbone\.' + _RESNET, 'backbone.'),)
        + _twins(r'encoder_q\.1\.', r'encoder_k\.1\.', _DENSECL_HEADS)
        + _QUEUES,
    ),
    Layout(
        'mcl',
        'released MCL',
        requires=(
            r'encoder_q\.0\.|backbone\.',
            r'encoder_q\.1\.lateral_convs\.',
            r'encoder_q\.2\.',
        ),
        rules=_twins(
            r'encoder_q\.0\.', r'encoder_k\.0\.', ((_RESNET, 'backbone.'), (r'fc\.', None))
        )
        + ((r'backbone\.' + _RESNET, 'backbone.'),)
        + _twins(r'encoder_q\.1\.', r'encoder_k\.1\.', ((r'(?=(?:lateral|fpn)_convs\.)', 'neck.'),))
        + _twins(
            r'encoder_q\.2\.',
            r'encoder_k\.2\.',
            ((r'cls_convs\.', 'region_head.convs.'),) + _mlp_rules(r'mlp\.', 'region_head.mlp.'),
        )
        + _mlp_rules(r'head\.predictor\.(\d+)\.mlp\.', r'predictors.\1.')
        + ((r'head\.', None),),
    ),
    Layout(
        'moco',
        'released MoCo',
        requires=(r'encoder_q\.conv1\.', r'encoder_q\.fc\.'),
        forbids=(r'projector_q\.', r'grouping_q\.'),
        rules=_twins(
            r'encoder_q\.',
            r'encoder_k\.',
            ((_RESNET, 'backbone.'), (r'fc\.(?=[02]\.)', 'projector.global_mlp.'), (r'fc\.', None)),
        )  # MoCo v1: one linear layer
        + _QUEUES,
    ),
    Layout(
        'soco',
        'released SoCo',
        requires=(r'encoder\.conv1\.', r'neck\.', r'head\.'),
        rules=(
            (r'encoder(_k)?\.fc\.', None),
            (r'encoder\.' + _RESNET, 'backbone.'),
            (r'encoder_k\.' + _RESNET, 'momentum_encoder.backbone.'),
            (r'neck\.(?=(?:lateral|fpn)_convs\.)', 'neck.'),
            (r'neck_k\.(?=(?:lateral|fpn)_convs\.)', 'momentum_encoder.neck.'),
            (r'head\.shared_convs\.', 'region_head.convs.'),
            (r'head_k\.shared_convs\.', 'momentum_encoder.region_head.convs.'),
            (r'(?:head|neck|projector|predictor)(?:_k)?\.', None),
        ),
    ),
    Layout(
        'slotcon',
        'released SlotCon',
        requires=(r'encoder_[qk]\.conv1\.',),
        forbids=(r'encoder\.', r'encoder_[qk]\.fc\.[\dwb]', r'queue'),
        rules=(
            (r'encoder_[qk]\.fc\.', None),
            (r'encoder_q\.' + _RESNET, 'backbone.'),
            (r'encoder_k\.' + _RESNET, 'momentum_encoder.backbone.'),
            (r'(?:projector|grouping|predictor|center)\w*(?:\.|$)', None),
        ),
        note='the authors transfer the momentum network (their teacher): use '
        'network="momentum" for their figures.',
    ),
    Layout(
        'mmpretrain',
        'mmselfsup or mmpretrain',
        requires=(
            r'backbone\.' + _RESNET,
            r'neck\.(mlp|fc|bn)|encoder_[qk]\.|target_net\.|'
            r'online_net\.|momentum_encoder\.module\.|head\.|queue|'
            r'neck\.(?!lateral_convs|fpn_convs)',
        ),
        forbids=(
            r'roi_head\.',
            r'rpn_head\.',
            r'decode_head\.',
            r'encoder_q\.1\.(lateral_convs|mlp2)\.',
            r'classifier\.(?:weight|bias)$',
            _OURS,
        ),
        rules=(
            (r'backbone\.fc\.', None),
            (r'backbone\.', 'backbone.'),
            (r'(?:encoder_q|online_net)\.0\.' + _RESNET, 'backbone.'),
            (
                r'(?:encoder_k|target_net|momentum_encoder|teacher)'
                r'\.(?:module\.)?(?:0\.|backbone\.)?' + _RESNET,
                'momentum_encoder.backbone.',
            ),
        )
        + tuple((rf'(?:encoder_q\.1|neck)\.{old}', new) for old, new in _DENSECL_HEADS[:2])
        + tuple(
            (rf'encoder_k\.(?:module\.)?1\.{old}', f'momentum_encoder.{new}')
            for old, new in _DENSECL_HEADS[:2]
        )
        + _QUEUES
        + ((r'', None),),
    ),
    Layout(
        'mmdet',
        'a mmdet model',
        requires=(r'backbone\.', r'roi_head\.|rpn_head\.|bbox_head\.'),
        forbids=(_OURS, r'encoder_[qk]\.'),
        rules=(
            (r'backbone\.|neck\.(?=(?:lateral|fpn)_convs\.)', r'\g<0>'),
            (r'roi_head\.shared_head\.layer4\.', 'backbone.layer4.'),
            (r'roi_head\.bbox_head\.shared_convs\.', 'region_head.convs.'),
            (r'(?:roi_head|rpn_head|bbox_head|neck)\.', None),
        ),
    ),
    Layout(
        'mmseg',
        'a mmseg model',
        requires=(r'backbone\.', r'decode_head\.'),
        forbids=(_OURS, r'encoder_[qk]\.'),
        rules=((r'backbone\.', r'\g<0>'), (r'(?:decode_head|auxiliary_head|neck)\.', None)),
    ),
    Layout(
        'lightly',
        "a module of lightly.ai's examples and benchmarks",
        requires=(
            _LIGHTLY,
            r'backbone\.0\.weight$|\w*(?:projection|prediction)_head\w*\.|online_classifier\.',
        ),
        forbids=(r'(?:student|query)_backbone\.', _OURS),
        rules=_lightly(r'backbone\.', r'(?:backbone_momentum|teacher_backbone)\.'),
    ),
    Layout(
        'lightly-student',
        "a module of lightly.ai's whose backbone is the momentum network",
        requires=(r'(?:student|query)_' + _LIGHTLY,),
        rules=_lightly(r'(?:student|query)_backbone\.', r'(?:teacher_)?backbone\.'),
        note='the authors evaluate the momentum network: use network="momentum" for their figures.',
    ),
    Layout(
        'solo-learn',
        'solo-learn',
        requires=(r'(?:backbone|encoder)\.' + _RESNET, r'classifier\.(?:weight|bias)$'),
        forbids=(_OURS,),
        rules=_twins(
            r'(?:backbone|encoder)\.', r'momentum_(?:backbone|encoder)\.', ((_RESNET, 'backbone.'),)
        )
        + ((r'(?!(?:momentum_)?(?:backbone|encoder)\.)', None),),
    ),
    Layout(
        'vissl',
        'VISSL, ResNet',
        requires=(r'(?:trunk\.)?(?:base_model\.)?_feature_blocks\.' + _RESNET,),
        rules=(
            (r'(?:trunk\.)?(?:base_model\.)?_feature_blocks\.' + _RESNET, 'backbone.'),
            (r'heads\.', None),
        ),
    ),
    Layout(
        'dino',
        'DINO, ResNet, student and teacher',
        requires=(r'student\.backbone\.' + _RESNET, r'teacher\.backbone\.' + _RESNET),
        rules=_twins(
            r'student\.', r'teacher\.', ((r'backbone\.' + _RESNET, 'backbone.'), (r'head\.', None))
        ),
        note='the authors transfer the momentum network (their teacher): use network="momentum" '
        'for their figures.',
    ),
    Layout(
        'torchvision',
        "bare ResNet names: torchvision, timm, or an extracted backbone such as DenseCL's, DINO's",
        requires=(r'conv1\.weight$|stem\.0\.', r'layer1\.0\.'),
        forbids=(r'conv1\.0\.',),
        rules=((_RESNET, 'backbone.'), (r'(?:fc|head|mlp2?)\.', None)),
    ),
    Layout(
        'timm',
        'timm, ResNet with a deep stem',
        requires=(r'conv1\.0\.', r'layer1\.0\.'),
        # timm numbers the layers of the stem one by one, and has a (void)
        # pooling before the first shortcut as well.
        rules=tuple((rf'conv1\.{old}\.', f'backbone.stem.{new}.') for old, new in TIMM_STEM)
        + (
            (r'bn1\.', 'backbone.stem.2.bn.'),
            (r'layer1\.0\.downsample\.1\.', 'backbone.layer1.0.downsample.0.'),
            (r'layer1\.0\.downsample\.2\.', 'backbone.layer1.0.downsample.1.'),
            (r'layer', 'backbone.layer'),
            (r'fc\.', None),
        ),
    ),
)
