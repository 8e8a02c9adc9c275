"""Released checkpoints of other code bases into this project's names."""

from .convert import Imported, import_weights, recognise
from .files import import_file, read_any, save_import
from .layouts import LAYOUTS, Layout

__all__ = [
    'Imported',
    'import_weights',
    'recognise',
    'import_file',
    'read_any',
    'save_import',
    'LAYOUTS',
    'Layout',
]
