"""All hostile inputs: what people's files look like at their worst, each made by code."""

from tests.hostile.columns import COLUMNS
from tests.hostile.containers import CONTAINERS
from tests.hostile.drawings import PICTURES
from tests.hostile.tables import TABLES

CORPUS = [*CONTAINERS, *PICTURES, *TABLES, *COLUMNS]
