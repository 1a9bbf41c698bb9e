"""The shape of the house: sizes, borders, and a README that tells the truth."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("api", "bench", "core", "migrations", "spin_engine", "spindle", "worker")
HEAVY = ("torch", "diffusers", "transformers", "accelerate", "peft")
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
TARGETS = re.compile(r"^([a-z]+):.*##", re.MULTILINE)


def tracked(pattern: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_file_is_longer_than_a_person_reads() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in tracked("*.py")}
    assert len(lengths) > 50
    assert {path: n for path, n in lengths.items() if n > LONGEST_FILE} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{function.name}": function.end_lineno - function.lineno + 1
        for path in tracked("*.py")
        for function in functions(path)
        if function.end_lineno is not None and function.end_lineno - function.lineno >= LONGEST_FUNCTION
    }
    assert long == {}


def test_package_inits_are_empty() -> None:
    full = [
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
        if path.read_text().strip() and path.parent != ROOT / "core" / "models"
    ]
    assert full == []


def test_imports_stand_at_the_top() -> None:
    """All but those of a ``__main__``, which sets threads and answers --help before torch is loaded."""
    inside = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for package in ("api", "core", "spin_engine", "worker")
        for path in (ROOT / package).rglob("*.py")
        if path.stem != "__main__"
        for function in functions(path)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inside == []


@pytest.mark.parametrize("package", ["api", "core", "worker", "spindle", "spin_engine.config"])
def test_no_heavy_import_even_transitively(package: str) -> None:
    """Import every module of a package in a fresh process; none may have brought torch or its friends."""
    folder = ROOT / package.replace(".", "/")
    modules = [package] if folder.with_suffix(".py").exists() else modules_of(folder)
    code = f"import sys, importlib\n[importlib.import_module(m) for m in {modules!r}]\n"
    code += f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "[]"


def modules_of(folder: Path) -> list[str]:
    files = sorted(path.relative_to(ROOT) for path in folder.rglob("*.py") if path.stem != "__main__")
    return [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files]


def test_the_readme_tree_is_true() -> None:
    """Every top-level folder with code stands in the README's tree, and all that stands there exists."""
    readme = (ROOT / "README.md").read_text()
    tree = re.search(r"```text\n(.*?)```", readme, re.DOTALL)
    assert tree is not None
    named = {line.split()[0].rstrip("/") for line in tree[1].splitlines() if line.strip()}
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing == []
    folders = {path.relative_to(ROOT).parts[0] for path in tracked("*") if path.parent != ROOT}
    assert folders - {".ci"} <= named


def test_the_readme_commands_are_true() -> None:
    """Every `make x` is a target that helps; every `spindle x` is a command of the CLI."""
    readme = (ROOT / "README.md").read_text()
    targets = set(TARGETS.findall((ROOT / "Makefile").read_text()))
    asked = set(re.findall(r"\bmake ([a-z]+)", readme))
    assert asked
    assert asked <= targets
    commands = set(re.findall(r"^\s*(?:\.venv/bin/)?spindle ([a-z]+)", readme, re.MULTILINE))
    assert commands
    for command in commands:
        ran = subprocess.run(
            [sys.executable, "-m", "spindle", command, "--help"], cwd=ROOT, capture_output=True, check=False
        )
        assert ran.returncode == 0, command


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)} -> {target}"
        for page in tracked("*.md")
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []
