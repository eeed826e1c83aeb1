"""A page of texts coloured token by token, by the model's confidence in each."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modecollapse.figures.token_colours import INK, colour

_STYLE = """
<style>
:root { color-scheme: light dark; --quiet: #666; }
body { font: 15px/1.6 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  background: #fff; color: #222; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 2rem; } h3 { font-size: 0.95rem; margin-bottom: 0; }
p { margin: 0.3rem 0 0.8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.tokens span, .legend span { color: INK; border-radius: 2px; }
.tokens .before { color: var(--quiet); background: none; }
.legend span { padding: 0 0.6rem; }
@media (prefers-color-scheme: dark) { :root { --quiet: #aaa; } body { background: #161616; color: #ddd; } }
</style>""".replace("INK", INK)

LEGEND = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class ColouredText:
    """One text: what it is, what stands before it, and its tokens."""

    section: str
    """What it is shown under; texts of a section stand together."""
    heading: str
    before: str
    tokens: Sequence[str]
    probabilities: Sequence[float]


def render(texts: Iterable[ColouredText], title: str, about: str) -> str:
    """The texts as one HTML page that needs nothing else; all text is escaped.

    A token's probability is the title of its span. Lone surrogates, which UTF-8 cannot hold, are shown as "�".
    """
    legend = "".join(f"<span style='background:{colour(each)}'>{each:g}</span>" for each in LEGEND)
    parts = [
        f"<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<meta name='viewport' content='width=device-width'><title>{_escaped(title)}</title>{_STYLE}"
        f"</head><body>\n<h1>{_escaped(title)}</h1>\n<p>{_escaped(about)}</p>",
        f"<p class='legend'>probability of the token: {legend}</p>",
    ]
    section = None
    for text in texts:
        if text.section != section:
            section = text.section
            parts.append(f"<h2>{_escaped(section)}</h2>")
        parts.append(f"<h3>{_escaped(text.heading)}</h3>")
        tokens = "".join(map(_span, text.tokens, text.probabilities)) or "(nothing)"
        parts.append(f"<p class='tokens'><span class='before'>{_escaped(text.before)}</span>{tokens}</p>")
    if section is None:
        parts.append("<p>There is no continuation.</p>")
    return "\n".join([*parts, "</body></html>\n"])


def _span(token: str, probability: float) -> str:
    return f"<span style='background:{colour(probability)}' title='{probability:.4f}'>{_escaped(token)}</span>"


def _escaped(text: str) -> str:
    return html.escape(text.encode("utf-8", "replace").decode("utf-8"))
