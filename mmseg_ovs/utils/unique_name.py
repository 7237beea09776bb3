"""File names that differ on every file system."""


def unique_name(stem: str, taken: set[str]) -> str:
    """``stem``, or ``stem_2``, ``stem_3``, ...: the first that is not taken.

    Args:
        stem: The name wanted.
        taken: Names in small letters; the result is added.
    """
    name, count = stem, 1
    while name.casefold() in taken:
        count += 1
        name = f'{stem}_{count}'
    taken.add(name.casefold())
    return name
