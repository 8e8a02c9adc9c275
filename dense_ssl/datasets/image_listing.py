"""Which images a folder or a list file holds."""

import logging
import os
import os.path as osp
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from mmengine.logging import print_log

from dense_ssl.errors import MissingFile, UserError

__all__ = ['EXTENSIONS', 'find_images', 'once', 'read_list', 'say_found']

EXTENSIONS = (
    *('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.ppm', '.pgm', '.pbm', '.pnm'),
    *('.tif', '.tiff', '.webp', '.gif', '.jp2', '.j2k'),
)
#: Files that hold many images.
ARCHIVES = (
    '.tar',
    '.zip',
    '.gz',
    '.tgz',
    '.bz2',
    '.xz',
    '.zst',
    '.7z',
    '.rar',
    '.tfrecord',
    '.lmdb',
)
_UNPACK = (
    'unpack archives first; tools/convert/pack_images.py makes one file of a folder that can be '
    'read as it is'
)


def say_found(where: str, images: Sequence[str], others: Mapping[str, int] = {}) -> None:
    """How many images of which endings there are, and what is passed over, into the log."""
    found = Counter(_ending(path) for path in images)
    left = f'; passed over: {_counts(others)}' if others else ''
    most = sum(others.values()) > len(images)
    print_log(
        f'{where}: {len(images)} images ({_counts(found)}){left}'
        + '. Endings of further images are named by extensions=' * most,
        'current',
        logging.WARNING if most else logging.INFO,
    )


def _ending(name: str) -> str:
    return osp.splitext(name)[1].lower() or 'no extension'


def _counts(kinds: Mapping[str, int], most: int = 8) -> str:
    common = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    more = ', ...' * (len(common) > most)
    return ', '.join(f'{count} x {kind}' for kind, count in common[:most]) + more


def find_images(root: str, extensions: Sequence[str] = EXTENSIONS) -> list[str]:
    """Paths of all images under a folder, however deep, in sorted order.

    Hidden files and folders (names with a leading dot, macOS' ``._*`` among
    them) are passed over; links to folders are followed, each folder once.

    Args:
        root (str): The folder.
        extensions (Sequence[str]): Wanted ends of names, in any case.

    Raises:
        MissingFile: The folder does not exist, or holds no image.
        UserError: It is a file.
    """
    remedy = 'set data_root to the folder of your images (--cfg-options data_root=DIR)'
    if not osp.exists(root):
        raise MissingFile(
            f'the image folder {root!r} does not exist (looked in {osp.abspath(root)!r}): {remedy}'
        )
    if root.lower().endswith(ARCHIVES) and not osp.isdir(root):
        raise UserError(f'{root!r} is an archive, not a folder of images: {_UNPACK}')
    if not osp.isdir(root):
        raise UserError(
            f'{root!r} is a file, not a folder of images: {remedy}, or, if it '
            'lists images, set ann_file to it and data_root to their folder'
        )

    wanted = tuple(sorted(extension.lower() for extension in extensions))
    images, seen = [], set()
    others: Counter[str] = Counter()  # files by their endings

    def unlistable(error):
        raise error

    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=unlistable):
        real = osp.realpath(folder)
        if real in seen:  # a link that leads back
            subfolders.clear()
            continue
        seen.add(real)
        others['hidden folders'] += sum(s[0] == '.' for s in subfolders)
        subfolders[:] = sorted(s for s in subfolders if s[0] != '.')
        for name in files:
            if name[0] == '.':
                others['hidden files'] += 1
            elif name.lower().endswith(wanted):
                images.append(osp.join(folder, name))
            else:
                others[_ending(name)] += 1
    others = +others  # those that there are
    if not images:
        found = _counts(others)
        if others.keys() & {*ARCHIVES}:
            remedy = f'{_UNPACK}, or {remedy}'
        raise MissingFile(
            f'the folder {root!r} '
            f'{f"holds no image, only {found}" if found else "is empty"}. '
            f'Images are files that end in {", ".join(wanted)} (extensions): '
            f'{remedy}'
        )
    say_found(root, images, others)
    return sorted(images)


def once(groups: Iterable[Sequence[str]]) -> list[str]:
    """The paths of several folders and lists, without what an earlier one has; said in the log."""
    paths: list[str] = []
    seen: set[tuple[str, str]] = set()
    folders: dict[str, str] = {}  # the real ones: links and overlaps lead to the same files
    total = 0
    for group in groups:
        keys = []
        for path in group:
            folder, name = osp.split(path)
            if folder not in folders:
                folders[folder] = osp.realpath(folder)
            keys.append((folders[folder], name))
        paths += [path for path, key in zip(group, keys) if key not in seen]
        total += len(group)
        seen.update(keys)
    print_log(
        f'in all {len(paths)} images'
        + f'; {total - len(paths)} are in several of these and taken once' * (total > len(paths)),
        'current',
    )
    return paths


def read_list(list_file: str, root: str) -> list[str]:
    """Paths named in a text file, in its order.

    One path a line, absolute or relative to ``root``; blank lines and lines
    that start with ``#`` are passed over.

    Raises:
        MissingFile: There is no such file.
        UserError: It names nothing, or is not text.
    """
    if not osp.isfile(list_file):
        raise MissingFile(
            f'the list of images {list_file!r} (ann_file) does not exist; a '
            'relative name is looked for in data_root'
        )
    # File names are bytes in any encoding; Python keeps those that are not
    # UTF-8 in the same way.
    with open(list_file, encoding='utf-8-sig', errors='surrogateescape') as file:
        lines = [line.strip() for line in file]
    if any('\0' in line for line in lines):
        raise UserError(f'{list_file!r} (ann_file) is not a text file: it has zero bytes')
    names = [line for line in lines if line and not line.startswith('#')]
    if not names:
        raise UserError(
            f'the list of images {list_file!r} (ann_file) names no file: write one path a line'
        )
    say_found(list_file, names)
    return [osp.join(root, name) for name in names]
