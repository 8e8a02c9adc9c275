"""MCL's montages with class labels."""

from .algorithms import CellClassifier, SupervisedMCL
from .heads import CellClassificationHead, SameClassContrastHead

__all__ = ['CellClassificationHead', 'CellClassifier', 'SameClassContrastHead', 'SupervisedMCL']
