"""Model cards as HTML: the Markdown that ours are written in, and no HTML that somebody wrote into one."""

import re
from collections.abc import Callable

from markupsafe import Markup, escape

IMAGE = re.compile(r"!\[([^\]]*)\]\((https?://[^\s)]+|/[^\s)]*)\)")
LINK = re.compile(r"\[([^\]]+)\]\((https?://[^\s)]+|/[^\s)]*)\)")
BOLD = re.compile(r"\*\*([^*]+)\*\*")
# Code, a sign that is meant as it stands, and the two that Markdown would take for HTML.
AS_IT_STANDS = re.compile(r"`([^`]+)`|\\([\\|`*_<>\[\]])|&(lt|gt);")
SIGNS = {"lt": "<", "gt": ">"}
HELD = re.compile("\ue000([0-9]+)\ue001")
ITEM = re.compile(r"^[-*] ")
RULE = re.compile(r"^\|?[\s:|-]+\|?$")


def html_of(markdown: str) -> Markup:
    """Return headings, paragraphs, lists, tables and code; anything else is shown as it was written."""
    return Markup("\n").join(_blocks(_without_front(markdown).splitlines()))


def _without_front(markdown: str) -> str:
    """Drop the metadata between two lines of dashes, which is for programs."""
    if not markdown.startswith("---\n"):
        return markdown
    _, _, rest = markdown[4:].partition("\n---")
    return rest.partition("\n")[2]


def _blocks(lines: list[str]) -> list[Markup]:
    found: list[Markup] = []
    place = 0
    while place < len(lines):
        end, block = _block(lines, place)
        if block is not None:
            found.append(block)
        place = end
    return found


def _block(lines: list[str], start: int) -> tuple[int, Markup | None]:
    """Return where the block that begins here ends, and its HTML; None for an empty line."""
    line = lines[start]
    if not line.strip():
        return start + 1, None
    if line.startswith("```"):
        end = next((n for n in range(start + 1, len(lines)) if lines[n].startswith("```")), len(lines))
        return end + 1, Markup('<pre tabindex="0">{}</pre>').format("\n".join(lines[start + 1 : end]))
    if line.startswith("#"):
        # Below the page's own headings.
        level = 3 if len(line) - len(line.lstrip("#")) < 3 else 4
        return start + 1, Markup("<h{0}>{1}</h{0}>").format(level, _inline(line.lstrip("#").strip()))
    if line.startswith("|") and start + 1 < len(lines) and RULE.match(lines[start + 1]):
        return _table(lines, start)
    if ITEM.match(line):
        return _run(lines, start, lambda one: bool(ITEM.match(one)), _list)
    return _run(
        lines, start, lambda one: bool(one.strip()) and not one.startswith(("#", "```", "|")), _paragraph
    )


def _run(
    lines: list[str], start: int, goes_on: Callable[[str], bool], made: Callable[[list[str]], Markup]
) -> tuple[int, Markup]:
    end = start + 1
    while end < len(lines) and goes_on(lines[end]):
        end += 1
    return end, made(lines[start:end])


def _list(lines: list[str]) -> Markup:
    items = Markup("").join(Markup("<li>{}</li>").format(_inline(ITEM.sub("", line))) for line in lines)
    return Markup("<ul>{}</ul>").format(items)


def _paragraph(lines: list[str]) -> Markup:
    return Markup("<p>{}</p>").format(_inline(" ".join(lines)))


def _table(lines: list[str], start: int) -> tuple[int, Markup]:
    end = start + 2
    while end < len(lines) and lines[end].startswith("|"):
        end += 1
    head = _row(lines[start], "th")
    body = Markup("").join(_row(line, "td") for line in lines[start + 2 : end])
    return end, Markup(
        '<div class="scroll" tabindex="0"><table><thead>{}</thead><tbody>{}</tbody></table></div>'
    ).format(head, body)


def _row(line: str, tag: str) -> Markup:
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
    each = Markup("").join(Markup("<{0}>{1}</{0}>").format(tag, _inline(cell)) for cell in cells)
    return Markup("<tr>{}</tr>").format(each)


def _inline(text: str) -> Markup:
    """Return a line with its pictures, links, bold words and code; all else is escaped."""
    held: list[str] = []

    def hold(found: re.Match[str]) -> str:
        code, sign, named = found.groups()
        plain = escape(code or sign or SIGNS[named])
        held.append(f"<code>{plain}</code>" if code else str(plain))
        return f"\ue000{len(held) - 1}\ue001"

    told = str(escape(AS_IT_STANDS.sub(hold, text.translate({0xE000: None, 0xE001: None}))))
    told = BOLD.sub(r"<strong>\1</strong>", told)
    told = IMAGE.sub(r'<img src="\2" alt="\1" loading="lazy">', told)
    told = LINK.sub(r'<a href="\2">\1</a>', told)
    return Markup(HELD.sub(lambda found: held[int(found[1])], told))  # noqa: S704  escaped before
