"""Hostile captions and metadata, beside a sound picture."""

from tests.core.archives import picture
from tests.hostile.packing import Hostile, alone, line, table, zipped

FIRST = "no row can be used; 1 left out, the first: a.png: its caption "
NO_TEXT = f"{FIRST}holds what is no text"
FORMULA = "its caption is a spreadsheet's formula: put a word before it"
DEEP = b"[" * 100_000 + b"]" * 100_000
DIGITS = b"9" * 100_000

CAPTIONS = [
    Hostile(f"caption: {name}", lambda text=text: alone(picture(), text), says)
    for name, text, says in [
        ("not UTF-8", b"caf\xe9", f"{FIRST}is not UTF-8"),
        ("UTF-16", "a red one".encode("utf-16"), f"{FIRST}is not UTF-8"),
        ("surrogate", b"\xed\xa0\x80", f"{FIRST}is not UTF-8"),
        ("overlong", b"\xc0\xaf", f"{FIRST}is not UTF-8"),
        ("zero", b"a\0b", NO_TEXT),
        ("escape", b"\x1b]0;owned\x07", NO_TEXT),
        ("empty", b" \n", f"{FIRST}is empty"),
        ("long", b"x" * 41, f"{FIRST}is longer than 40 characters"),
        ("very long", b"x" * 100_000, f"{FIRST}is larger than "),
        ("formula", b"=cmd|' /C calc'!A0", FORMULA),
        ("link", b'=HYPERLINK("http://evil")', FORMULA),
        ("formula by at", b"@SUM(1+1)*cmd|x!A0", FORMULA),
    ]
]
LINES = [
    Hostile(f"jsonl: {name}", lambda lines=lines: table(*lines), says)
    for name, lines, says in [
        ("not JSON", [b"a.png: red"], "metadata.jsonl, line 1: not a line of JSON"),
        ("deep", [b'{"file_name": "a.png", "text": %b}' % DEEP], "line 1: not a line of JSON"),
        ("deep objects", [b'{"a":' * 50_000], "line 1: not a line of JSON"),
        ("long number", [b'{"file_name": "a.png", "text": %b}' % DIGITS], "line 1: not a line of JSON"),
        ("NaN", [b'{"file_name": "a.png", "text": NaN}'], "a.png, line 1: text is missing or no text"),
        ("1e400", [b'{"file_name": "a.png", "text": 1e400}'], "a.png, line 1: text is missing or no text"),
        ("list", [b"[1]"], "line 1: not an object with file_name and text"),
        ("not UTF-8", [b'{"file_name": "a.png", "text": "\xff"}'], "metadata.jsonl, line 1: not UTF-8"),
        ("zero", [line("a.png", "a\0b")], "a.png, line 1: its caption holds what is no text"),
        ("zero in a name", [line("a\0.png", "red")], "a\\x00.png, line 1: no such file in the archive"),
        ("surrogate", [b'{"file_name": "a.png", "text": "\\ud800"}'], "its caption holds what is no text"),
        ("surrogate in a name", [b'{"file_name": "\\ud800", "text": "x"}'], "\\ud800, line 1: no such file"),
        ("outside", [line("../../etc/passwd", "x")], "../../etc/passwd, line 1: no such file in the archive"),
        ("absolute", [line("/etc/passwd", "x")], "/etc/passwd, line 1: no such file in the archive"),
        ("address", [line("http://169.254.169.254/", "x")], "line 1: no such file in the archive"),
        ("long line", [b"x" * (1 << 20) + b"y"], "metadata.jsonl has a line longer than 1.0 MB"),
        ("many lines", [line("a.png", "x")] * 2 + [b"0"] * 60, "the file has more than 50 rows"),
        (
            "loser outside",
            [b'{"file_name": "a.png", "text": "x", "loser_file_name": "../b"}'],
            "../b: no such",
        ),
    ]
]
SHEETS = [
    Hostile(f"csv: {name}", lambda text=text: table(text, name="metadata.csv"), says)
    for name, text, says in [
        ("no columns", b"image,caption\n", "the first line must name the columns file_name and text"),
        ("empty", b"", "the first line must name the columns file_name and text"),
        ("not UTF-8", b"file_name,text\na.png,\xff\n", "metadata.csv, line 2: not UTF-8"),
        ("open quote", b'file_name,text\na.png,"' + b"x\n" * 100_000, "metadata.csv, line "),
        ("formula", b"file_name,text\na.png,\"=1+cmd|' /C calc'!A0\"\n", FORMULA),
        ("zero", b"file_name,text\na.png,a\0b\n", "its caption holds what is no text"),
        ("short row", b"file_name,text\na.png\n", "a.png, line 2: text is missing or no text"),
    ]
]
FILES = [
    Hostile(
        "two tables",
        lambda: zipped({"metadata.jsonl": b"", "metadata.csv": b"", "a.png": picture()}),
        "metadata.csv and metadata.jsonl: one metadata file is expected, not several",
    ),
    Hostile(
        "json: deep",
        lambda: zipped({"a.png": picture(), "a.json": DEEP}),
        f"{FIRST}is not JSON, in a.json",
    ),
    Hostile(
        "json: no caption",
        lambda: zipped({"a.png": picture(), "a.json": b'{"caption": {"$ne": null}}'}),
        f"{FIRST}is not in a.json: caption, text, prompt are its usual names",
    ),
    Hostile(
        "json: infinite",
        lambda: zipped({"a.png": picture(), "a.json": b'{"text": Infinity}'}),
        f"{FIRST}is not in a.json",
    ),
]
TABLES = [*CAPTIONS, *LINES, *SHEETS, *FILES]
