"""What a statement about tables takes from code of before: nothing, or it may only run once that is gone."""

import re
from collections.abc import Iterable

NAME = r'"?([a-z_0-9]+)"?'
TAKES = (
    (rf"DROP TABLE (?:IF EXISTS )?{NAME}", "drops table {0}"),
    (rf"ALTER TABLE {NAME} DROP COLUMN {NAME}", "drops column {0}.{1}"),
    (rf"ALTER TABLE {NAME} RENAME TO", "renames table {0}"),
    (rf"ALTER TABLE {NAME} RENAME (?:COLUMN )?{NAME} TO", "renames column {0}.{1}"),
    (rf"ALTER TABLE {NAME} ALTER COLUMN {NAME} SET NOT NULL", "wants a value in {0}.{1}"),
    (rf"ALTER TABLE {NAME} ALTER COLUMN {NAME} (?:SET DATA )?TYPE", "changes the type of {0}.{1}"),
    (rf"ALTER TABLE {NAME} ALTER COLUMN {NAME} DROP DEFAULT", "takes the default of {0}.{1}"),
    (rf"CREATE UNIQUE INDEX {NAME} ON {NAME}", "wants {1} to be unique by {0}"),
    (rf"ALTER TABLE {NAME} ADD CONSTRAINT {NAME}", "wants more of {0} by {1}"),
)
ADDS = re.compile(rf"ALTER TABLE {NAME} ADD COLUMN {NAME} (.*)", re.IGNORECASE)
MAKES = re.compile(rf"CREATE TABLE {NAME}", re.IGNORECASE)
FREES = re.compile(rf"ALTER TABLE {NAME} DROP CONSTRAINT {NAME}", re.IGNORECASE)


def taken(statements: Iterable[str]) -> list[str]:
    """Return what the statements of one migration, on PostgreSQL, take from code that knows nothing of it.

    A constraint that is dropped and made anew under its name is taken to be wider, as a longer list of words
    is. Tables that the migration itself makes are nobody's yet.
    """
    fresh: set[str] = set()
    freed: set[tuple[str, str]] = set()
    found: list[str] = []
    for statement in (" ".join(each.split()) for each in statements):
        if made := MAKES.match(statement):
            fresh.add(made[1])
        if dropped := FREES.match(statement):
            freed.add((dropped[1], dropped[2]))
        added = ADDS.match(statement)
        if added and " NOT NULL" in added[3] and " DEFAULT " not in added[3]:
            found.append(f"wants a value in the new column {added[1]}.{added[2]}")
        for pattern, told in TAKES:
            hit = re.match(pattern, statement, re.IGNORECASE)
            if hit and not fresh.intersection(hit.groups()) and hit.groups() not in freed:
                found.append(told.format(*hit.groups()))
    return found
