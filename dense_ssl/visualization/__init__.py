"""Pictures: matched cells of two views, predictions beside ground truth."""

from .correspondence import correct_matches, draw_correspondence

__all__ = ['correct_matches', 'draw_correspondence']
