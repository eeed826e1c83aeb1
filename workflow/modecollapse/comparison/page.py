"""A page of sections: headings, paragraphs and tables as HTML that a report can show."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

_STYLE = """
<style>
body { font: 15px/1.5 sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 1.8rem; }
table { border-collapse: collapse; font-size: 0.87rem; }
th, td { padding: 0.2rem 0.7rem; text-align: right; vertical-align: bottom; }
td { white-space: nowrap; }
p { white-space: pre-wrap; overflow-wrap: anywhere; }
th:first-child, td:first-child { text-align: left; } th { border-bottom: 1px solid #888; }
</style>"""


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, and a table below them if there is one."""

    heading: str
    paragraphs: tuple[str, ...]
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def render(sections: Sequence[Section], title: str) -> str:
    """The sections as one HTML page; all text is escaped."""
    parts = [
        f"<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>{html.escape(title)}</title>{_STYLE}"
    ]
    parts.append(f"</head><body>\n<h1>{html.escape(title)}</h1>")
    for section in sections:
        parts.append(f"<h2>{html.escape(section.heading)}</h2>")
        parts += [f"<p>{html.escape(paragraph)}</p>" for paragraph in section.paragraphs]
        if section.rows:
            parts.append(f"<table>\n<tr>{_cells('th', section.columns)}</tr>")
            parts += [f"<tr>{_cells('td', row)}</tr>" for row in section.rows]
            parts.append("</table>")
    return "\n".join([*parts, "</body></html>\n"])


def _cells(tag: str, values: Sequence[str]) -> str:
    return "".join(f"<{tag}>{html.escape(value)}</{tag}>" for value in values)
