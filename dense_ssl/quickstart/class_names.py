"""Class names that every tool of the job takes as they are."""

from collections.abc import Sequence

__all__ = ['clean_categories', 'semantic_names']

BACKGROUND = 'background'


def clean_categories(categories: Sequence[dict]) -> list[dict]:
    """Categories whose names are text without spaces around.

    Raises:
        ValueError: If a name is empty, no text, or used twice then.
    """
    cleaned, ids = [], {}
    for category in categories:
        name = category['name']
        if isinstance(name, bool) or not isinstance(name, (str, int, float)):
            raise ValueError(f'category {category["id"]} has the name {name!r}; a text is needed')
        name = ' '.join(str(name).split())
        if not name:
            raise ValueError(f'category {category["id"]} has an empty name: give it one')
        if name in ids:
            raise ValueError(
                f'categories {ids[name]} and {category["id"]} '
                f'have the same name {name!r}: rename one'
            )
        ids[name] = category['id']
        cleaned.append(dict(category, name=name))
    return cleaned


def semantic_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Background, then the classes, as ``--seg-classes`` takes them.

    Names are separated by commas there and must differ, so a comma becomes a
    semicolon, and a name that is taken gets a number.
    """
    names = []
    for name in (BACKGROUND, *classes):
        name = plain = name.replace(',', ';')
        number = 1
        while name in names:
            number += 1
            name = f'{plain} ({number})'
        names.append(name)
    return tuple(names)
