"""Teaches mmengine ``dense_ssl::`` paths when it is imported, in tools that never import us.

mmengine reads ``_base_`` before ``custom_imports``, and its table of packages has no way in. An
installation has a copy of this file and ``dense_ssl.pth``, which imports it whenever Python
starts: it must be cheap, import nothing, and break nothing.
"""

import sys

TABLE = 'mmengine.config.utils'


class AddToTable:
    """A finder that finds nothing, but wraps the loader of the module with the table, once."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != TABLE:
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(cls)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                # A sub-module: looked up as such, it imports us, and we mend the table.
                getattr(module, 'MODULE2PACKAGE', {}).setdefault('dense_ssl', 'dense_ssl.version')

            vars(spec.loader)['exec_module'] = exec_module
        return spec


if TABLE not in sys.modules:
    sys.meta_path.insert(0, AddToTable)
