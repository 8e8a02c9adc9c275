"""How good frozen features are, without fine-tuning."""

from dense_ssl.former import old_attributes

from .knn import knn_accuracy

__all__ = ['knn_accuracy']

__getattr__ = old_attributes(__name__, VOCDetectionMetric='dense_ssl.finetune.VOCDetectionMetric')
