"""Imports run one way: no circle of files, and each room knows the rooms below it only."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: What every room may import: the files that lie in no room.
FLOOR = {
    'color_params',
    'compat',
    'config_tree',
    'errors',
    'files',
    'former',
    'modules',
    'registry',
    'start',
    'tables',
    'version',
}
#: The rooms that each room may import.
ROOMS = {
    'models': set(),
    'datasets': set(),
    'scenes': set(),
    'transfer': set(),
    'evaluation': {'models', 'datasets'},
    'visualization': {'models', 'datasets', 'transfer'},
    'engine': {'models', 'transfer'},
    'finetune': {'datasets', 'engine', 'transfer'},
}
ROOMS['cli'] = {*ROOMS}
ROOMS['study'] = {*ROOMS}
ROOMS['tools'] = {*ROOMS, 'dense_ssl'}
ROOMS['dense_ssl'] = {'datasets', 'engine', 'models'}  # the face, imported by nobody inside


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


FILES = {
    module_name(path): path
    for top in ('dense_ssl', 'tools')
    for path in (ROOT / top).rglob('*.py')
    if '.mim' not in path.parts  # copies of an installation
}


def imports(name: str, node: ast.AST):
    """Modules of the project that ``node`` of the module ``name`` imports, at any depth."""
    if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(node.test):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in FILES)
    elif isinstance(node, ast.ImportFrom):
        package = name if FILES[name].stem == '__init__' else name.rpartition('.')[0]
        above = package.split('.')[: len(package.split('.')) + 1 - node.level] * bool(node.level)
        base = '.'.join([*above, *filter(None, [node.module])])
        for alias in node.names:
            found = f'{base}.{alias.name}'
            yield from {found if found in FILES else base} & {*FILES}
    for child in ast.iter_child_nodes(node):
        yield from imports(name, child)


def room(name: str) -> str:
    top, _, rest = name.partition('.')
    return rest.partition('.')[0] if top == 'dense_ssl' and rest else top


GRAPH = {name: {*imports(name, ast.parse(path.read_text()))} for name, path in FILES.items()}


def test_no_circle_of_files():
    TopologicalSorter(GRAPH).prepare()


def test_rooms_know_only_rooms_below():
    TopologicalSorter(ROOMS).prepare()
    assert {room(name) for name in FILES} <= {*ROOMS, *FLOOR}
    wrong = [
        f'{name} imports {other}'
        for name, others in GRAPH.items()
        for other in others
        if room(other) not in {room(name), *FLOOR, *ROOMS.get(room(name), ())}
    ]
    assert not wrong, '\n'.join(sorted(wrong))


def test_transfer_needs_neither_mmdet_nor_mmseg():
    """With both unimportable: where mmdet is there, mmpretrain imports it by itself."""
    code = 'import sys; sys.modules.update(mmdet=None, mmseg=None); import dense_ssl.transfer'
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)
