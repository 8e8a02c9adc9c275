"""Our checkpoints in the form that other frameworks load."""

from .export import FORMATS, Export, export_weights, save_export

__all__ = ['FORMATS', 'Export', 'export_weights', 'save_export']
