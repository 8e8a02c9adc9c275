"""Procedural scenes: a small data set made in code, in standard layouts."""

from .classes import IGNORE, STUFF, THINGS, coco_categories, thing_names
from .render import Instance, Scene, render_scene
from .writer import write_scenes

__all__ = [
    'IGNORE',
    'STUFF',
    'THINGS',
    'coco_categories',
    'thing_names',
    'Instance',
    'Scene',
    'render_scene',
    'write_scenes',
]
