"""COCO's figures where images have more than 100 objects. Needs mmdet."""

from unittest.mock import patch

from mmdet.evaluation.metrics import coco_metric
from pycocotools.cocoeval import COCOeval


class CrowdedCocoMetric(coco_metric.CocoMetric):
    """mmdet's metric, whose AP takes in as many detections as its other figures.

    pycocotools computes AP, and only AP, of the best 100 detections of each
    class and image, whatever ``proposal_nums`` says. Here the last of these
    is the limit.
    """

    def compute_metrics(self, results: list) -> dict[str, float]:
        with patch.object(coco_metric, 'COCOeval', _AllDetections):
            return super().compute_metrics(results)


class _AllDetections(COCOeval):
    def summarize(self) -> None:
        super().summarize()
        precision = self.eval['precision'][:, :, :, 0, -1]  # of all sizes, at the last limit
        precision = precision[precision > -1]
        self.stats[0] = precision.mean() if precision.size else -1
