"""How good frozen features are, without fine-tuning."""

from .knn import knn_accuracy

__all__ = ['knn_accuracy']
