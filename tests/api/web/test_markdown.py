"""Model cards as HTML: what our own cards use, and nothing that somebody slipped into one."""

import pytest

from api.web.markdown import html_of


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("# fox", "<h3>fox</h3>"),
        ("### Data", "<h4>Data</h4>"),
        ("one\ntwo\n\nthree", "<p>one two</p>\n<p>three</p>"),
        ("- a `b`\n* **c**", "<ul><li>a <code>b</code></li><li><strong>c</strong></li></ul>"),
        ("```python\nx < 1\n\n# y\n```", '<pre tabindex="0">x &lt; 1\n\n# y</pre>'),
        ("```\nwithout an end", '<pre tabindex="0">without an end</pre>'),
        ("[paper](https://arxiv.org/abs/1)", '<p><a href="https://arxiv.org/abs/1">paper</a></p>'),
        ("![a < b](/v1/x.png)", '<p><img src="/v1/x.png" alt="a &lt; b" loading="lazy"></p>'),
        (r"snake\_case \*x\* &lt;b&gt; \[y\](/z)", "<p>snake_case *x* &lt;b&gt; [y](/z)</p>"),
        (
            "`**not bold**` **`x < y`**",
            "<p><code>**not bold**</code> <strong><code>x &lt; y</code></strong></p>",
        ),
        ("", ""),
    ],
)
def test_what_cards_are_written_in_is_shown(markdown: str, html: str) -> None:
    assert html_of(markdown) == html


def test_a_table_keeps_its_cells_and_a_bar_in_one() -> None:
    told = html_of("| metric | value |\n|:---|---:|\n| style \\| hand | **0.5** |")
    assert told == (
        '<div class="scroll" tabindex="0"><table><thead><tr><th>metric</th><th>value</th></tr></thead>'
        "<tbody><tr><td>style | hand</td><td><strong>0.5</strong></td></tr></tbody></table></div>"
    )


def test_metadata_for_programs_is_left_out() -> None:
    assert html_of("---\nlicense: mit\n---\n\n# fox") == "<h3>fox</h3>"


@pytest.mark.parametrize(
    "slipped",
    [
        "<script>alert(1)</script>",
        "[x](javascript:alert(1))",
        '![" onerror="alert(1)](/x)',
        '[x](https://a.example/"onmouseover="alert(1))',
        "`<img src=x onerror=alert(1)>`",
        "| <b> |\n|---|\n| <i> |",
    ],
)
def test_nothing_else_becomes_html(slipped: str) -> None:
    told = html_of(slipped)
    assert "<script" not in told
    assert "<img src=x" not in told
    assert 'onerror="' not in told
    assert 'href="javascript' not in told
    assert '"onmouseover' not in told
    assert "<b>" not in told
    assert "<i>" not in told
