"""Print, as JSON, which requirements the running Python lacks.

Used by setup_env.py with the environment's own Python, before anything but
pip is sure to be there.
"""

import json
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement


def missing(files):
    """Requirement lines that no installed distribution satisfies."""
    lines = [
        line.split('#')[0].strip() for file in files for line in Path(file).read_text().splitlines()
    ]
    result = []
    for line in filter(None, lines):
        requirement = Requirement(line)
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            version = None
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            result.append(line)
    return result


def is_damaged(distribution, shared):
    """Whether files it lists are absent or cut short.

    ``shared`` files belong to several distributions (the two opencv wheels,
    say): the last one installed sets their size.
    """
    for file in distribution.files:
        if file.suffix == '.pyc':  # made and dropped at will
            continue
        path = Path(file.locate())
        try:
            size = path.stat().st_size
        except OSError:
            return True
        if file.size and size < file.size and str(file) not in shared:
            return True
    return False


def damaged():
    """Installed distributions that an interruption left incomplete.

    Each as (requirement, folder): the requirement to install anew, None where
    not even its name is known; and the metadata folder to remove first, None
    where pip can uninstall by itself. An installation cut off in the middle
    has no list of files yet.
    """
    found = [
        d for d in metadata.distributions() if str(getattr(d, '_path', '')).endswith('.dist-info')
    ]
    counts = Counter(str(f) for d in found for f in d.files or [])
    shared = {file for file, count in counts.items() if count > 1}
    result = []
    for distribution in found:
        info = distribution.metadata
        name = info['Name'] if info is not None else None
        if name is None or distribution.files is None:
            requirement = name and f'{name}=={distribution.version}'
            result.append((requirement, str(distribution._path)))
        elif name not in ('pip', 'dense_ssl') and is_damaged(distribution, shared):
            result.append((f'{name}=={distribution.version}', None))
    return result


if __name__ == '__main__':
    arguments = sys.argv[1:]
    thorough = '--files' in arguments
    files = [a for a in arguments if a != '--files']
    print(json.dumps(dict(missing=missing(files), damaged=damaged() if thorough else [])))
