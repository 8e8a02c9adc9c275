"""The papers' benchmarks by name, with the figures they report."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Benchmark:
    """One fine-tuning run.

    Attributes:
        name: Its name in tables, and of its folder.
        config: Config below ``configs/benchmarks``.
        figures: Columns of the table and their names in ``metrics.json``;
            what is reported in [0, 1] is shown in percent.
        papers: Published figures by method, in the order of the columns.
    """

    name: str
    config: str
    figures: dict[str, str]
    papers: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def framework(self) -> str:
        return self.config.split('/')[0]


_BOX_MASK = {'box AP': 'coco/bbox_mAP', 'mask AP': 'coco/segm_mAP'}
_BOX = {'box AP': 'coco/bbox_mAP'}
_VOC = {'AP': 'pascal_voc/AP', 'AP50': 'pascal_voc/AP50', 'AP75': 'pascal_voc/AP75'}
_MIOU = {'mIoU': 'mIoU'}

_FPN_1X = {
    'random': (32.8, 29.9),
    'supervised': (39.7, 35.9),
    'MoCo v2-800': (40.4, 36.4),
    'PixPro-100': (40.8, 36.8),
    'PixPro-400 + instance': (41.4, 37.4),
    'SoCo-400': (43.0, 38.2),
    'SlotCon-200': (41.8, 37.8),
    'MCL-100': (42.5, 38.3),
}

SUITES: dict[str, list[Benchmark]] = {
    'voc': [
        Benchmark(
            'VOC07+12 Faster R-CNN C4 24k',
            'mmdetection/faster-rcnn_r50-c4_24k_voc0712.py',
            _VOC,
            {
                'random': (33.8, 60.2, 33.1),
                'supervised': (53.5, 81.3, 58.8),
                'MoCo v2-200': (57.0, 82.4, 63.6),
                'DenseCL-200': (58.7,),
                'DenseCL COCO-800': (56.7,),
                'DenseCL COCO-1600': (57.2,),
                'PixPro-100': (58.8, 83.0, 66.5),
                'PixPro-400': (60.2, 83.8, 67.7),
            },
        )
    ],
    'coco': [
        Benchmark(
            'COCO Mask R-CNN FPN 1x', 'mmdetection/mask-rcnn_r50_fpn_1x_coco.py', _BOX_MASK, _FPN_1X
        ),
        Benchmark(
            'COCO Mask R-CNN FPN 1x, wd 2.5e-5',
            'mmdetection/mask-rcnn_r50_fpn_wd2.5e-5_1x_coco.py',
            _BOX_MASK,
        ),
        Benchmark('COCO Mask R-CNN FPN 2x', 'mmdetection/mask-rcnn_r50_fpn_2x_coco.py', _BOX_MASK),
        Benchmark(
            'COCO Mask R-CNN C4 1x',
            'mmdetection/mask-rcnn_r50-c4_1x_coco.py',
            _BOX_MASK,
            {
                'random': (26.4, 29.3),
                'supervised': (38.2, 33.3),
                'MoCo v2-200': (38.9, 34.1),
                'PixPro-100': (40.0, 34.8),
                'PixPro-400': (40.5, 35.3),
            },
        ),
        Benchmark('COCO RetinaNet 1x', 'mmdetection/retinanet_r50_fpn_1x_coco.py', _BOX),
        Benchmark('COCO FCOS 1x', 'mmdetection/fcos_r50_fpn_1x_coco.py', _BOX),
        Benchmark(
            'Cityscapes Mask R-CNN FPN 24k',
            'mmdetection/mask-rcnn_r50_fpn_24k_cityscapes.py',
            {**_BOX_MASK, "mask AP, Cityscapes' own": 'cityscapes/mAP'},
        ),
    ],
    'seg': [
        Benchmark(
            'VOC12aug FCN-d8 20k',
            'mmsegmentation/fcn_r50-d8_4xb4-20k_voc12aug-512x512.py',
            _MIOU,
            {
                'MoCo v2-200': (67.5,),
                'DenseCL-200': (69.4,),
                'MoCo v2 COCO-800': (64.5,),
                'DenseCL COCO-800': (67.5,),
                'DenseCL COCO-1600': (68.0,),
            },
        ),
        Benchmark(
            'Cityscapes FCN-d8 40k',
            'mmsegmentation/fcn_r50-d8_4xb2-40k_cityscapes-769x769.py',
            _MIOU,
        ),
        Benchmark(
            'VOC12aug FCN-d6 30k',
            'mmsegmentation/fcn-d6_r50-d16_4xb4-30k_voc12aug-513x513.py',
            _MIOU,
        ),
        Benchmark(
            'Cityscapes FCN-d6 90k',
            'mmsegmentation/fcn-d6_r50-d16_4xb4-90k_cityscapes-769x769.py',
            _MIOU,
            {'PixPro-400': (77.2,)},
        ),
        Benchmark(
            'ADE20K FCN-d8 80k', 'mmsegmentation/fcn_r50-d8_4xb4-80k_ade20k-512x512.py', _MIOU
        ),
    ],
    'probe': [
        Benchmark(
            'VOC12aug linear', 'mmsegmentation/linear_r50-d8_4xb4-40k_voc12aug-512x512.py', _MIOU
        ),
        Benchmark(
            'Cityscapes linear',
            'mmsegmentation/linear_r50-d8_4xb2-40k_cityscapes-769x769.py',
            _MIOU,
        ),
        Benchmark(
            'ImageNet linear',
            'mmpretrain/linear_resnet50_8xb32-steplr-100e_in1k.py',
            {'top-1': 'accuracy/top1'},
            {'DenseCL-200': (63.5,), 'PixPro-100': (55.1,)},
        ),
    ],
}
SUITES['all'] = [run for name in ('voc', 'coco', 'seg', 'probe') for run in SUITES[name]]
