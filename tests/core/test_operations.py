"""docs/operations.md tells the truth of how long things are kept."""

import importlib
import re
from datetime import timedelta
from pathlib import Path

from core.settings import Settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
UNITS = {"hour": 3600.0, "hours": 3600.0, "day": 86400.0, "days": 86400.0}
IN_DAYS = {"audit_days", "export_days"}


def rows() -> list[list[str]]:
    section = PAGE.read_text().partition("## What is kept, and for how long")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def told(text: str) -> float:
    found = re.search(r"(\d+) (hours?|days?)", text)
    assert found, f"{text!r} tells no time"
    return int(found[1]) * UNITS[found[2]]


def of_the_code(name: str) -> float:
    module, _, constant = name.rpartition(".")
    value = getattr(importlib.import_module(module), constant)
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def test_times_of_the_table_are_those_of_the_code() -> None:
    held = {}
    for what, time, by in rows():
        for name in re.findall(r"`(core\.[a-z_.]+\.[A-Z_]+)`", by):
            assert told(time) == of_the_code(name), what
            held[what] = name
    assert len(held) >= 15


def test_settings_of_the_table_have_these_defaults() -> None:
    seen = set()
    for what, time, by in rows():
        for name in re.findall(r"`SPINDLE_([A-Z_]+)`", by):
            field = Settings.model_fields[name.lower()]
            if name.lower() in IN_DAYS:
                assert told(time) == field.default * 86400, what
                seen.add(name.lower())
    assert seen == IN_DAYS
    assert Settings.model_fields["keep_checkpoints"].default == 0  # ever


def test_all_that_the_beat_sweeps_has_a_row() -> None:
    """Each module of core whose rows or objects the beat deletes by age is named in the table."""
    chores = (PAGE.parents[1] / "worker" / "maintenance.py").read_text()
    swept = set(re.findall(r"\b(\w+)\.(?:sweep|purge|clear|clear_lost|expire|forget_\w+|relay)\(", chores))
    named = {name.split(".")[-2] for row in rows() for name in re.findall(r"`(core\.[\w.]+)`", row[2])}
    by_setting = {"audit", "exports"}
    aliases = {"upload_leftovers": "leftovers"}
    assert {aliases.get(name, name) for name in swept} <= named | by_setting
