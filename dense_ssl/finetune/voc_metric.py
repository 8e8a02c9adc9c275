"""Pascal VOC detection as the papers report it."""

from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from unittest.mock import patch

import numpy as np
from mmengine.evaluator import BaseMetric

from dense_ssl.registry import METRICS

#: 0.5, 0.55 ... 0.95
IOU_THRESHOLDS = tuple(n / 100 for n in range(50, 100, 5))


@METRICS.register_module()
class VOCDetectionMetric(BaseMetric):
    """AP (mean over IoU .5:.05:.95), AP50 and AP75 by the 11-point rule.

    detectron2's VOC evaluation. Objects marked difficult are neither missed
    nor found. mmdet's ``VOCMetric`` gives one threshold; its ``eval_map``
    does the work here too, with boxes that are a pixel wider than their
    difference, as in the VOC development kit. Figures are in percent.
    """

    default_prefix = 'pascal_voc'

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Collect mmdet data samples, detections and annotations of each."""
        for sample in data_samples:
            found = {
                key: value.cpu().numpy()
                for key, value in sample['pred_instances'].items()
                if key in ('bboxes', 'scores', 'labels')
            }
            truth, ignored = (sample['gt_instances'], sample['ignored_instances'])
            annotation = dict(
                bboxes=_array(truth['bboxes']),
                labels=_array(truth['labels']),
                bboxes_ignore=_array(ignored['bboxes']),
                labels_ignore=_array(ignored['labels']),
            )
            rows = np.hstack([found['bboxes'], found['scores'][:, None]])
            detections = [
                rows[found['labels'] == label] for label in range(len(self.dataset_meta['classes']))
            ]
            self.results.append((annotation, detections))

    def compute_metrics(self, results: list) -> dict[str, float]:
        annotations, detections = zip(*results)
        precisions = mean_precisions(detections, annotations)
        return dict(
            AP=100 * float(np.mean(precisions)),
            AP50=100 * float(precisions[0]),
            AP75=100 * float(precisions[5]),
        )


def mean_precisions(
    detections: Sequence[list[np.ndarray]],
    annotations: Sequence[dict],
    thresholds: Sequence[float] = IOU_THRESHOLDS,
) -> list[float]:
    """Mean over the classes of the 11-point average precision.

    Args:
        detections: For each image and class (D, 5): x1, y1, x2, y2, score.
        annotations: For each image the boxes (B, 4) and labels (B, ), and
            the same of difficult objects as ``*_ignore``.
        thresholds: IoU from which on an object counts as found.

    Returns:
        Average precision in [0, 1] by threshold; classes without objects do
        not count.
    """
    from mmdet.evaluation.functional import mean_ap

    # Threads in the place of mmdet's processes, which are forked amid a run and its threads:
    # now and then one of them did not end, and the evaluation waited for it.
    with patch.object(mean_ap, 'Pool', ThreadPool):
        return [
            mean_ap.eval_map(
                list(detections),
                list(annotations),
                iou_thr=threshold,
                logger='silent',
                eval_mode='11points',
                use_legacy_coordinate=True,
            )[0]
            for threshold in thresholds
        ]


def _array(boxes) -> np.ndarray:
    # Boxes may come in mmdet's own class.
    boxes = getattr(boxes, 'tensor', boxes)
    return boxes.cpu().numpy()
