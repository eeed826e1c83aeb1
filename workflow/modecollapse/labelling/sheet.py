"""Labelling sheets: a page that people open in a browser, and the same as CSV.

Everything in a sheet is blind: it names no stage, model or score. The page is one file without anything from elsewhere.
The texts are those of models, so they are data in it and never markup: JSON in which no `<` is left, which the script
puts into text nodes; and a content security policy that lets no other script run.
"""

import base64
import csv
import hashlib
import io
import json
from pathlib import Path

import pyarrow as pa

from modecollapse.digests import digest
from modecollapse.labelling.candidates import sheet_of

HERE = Path(__file__).parent

_FORMULA = ("=", "+", "-", "@")
"""Spreadsheets compute cells that begin so."""

CSV_COLUMNS = ("sheet", "pair", "annotator", "prompt", "answer_a", "answer_b", "label")


def sheet_page(candidates: pa.Table, seed: int) -> str:
    """The page (HTML) of these candidates (`candidates.SCHEMA`); each annotator gets them in an order of their own.

    Args:
        candidates: in any order.
        seed: decides the orders, together with an annotator's name.
    """
    script, style = (HERE.joinpath(f"sheet.{suffix}").read_text(encoding="utf-8") for suffix in ("js", "css"))
    # Only ASCII: halves of surrogate pairs and line separators are escaped as well.
    data = json.dumps({"sheet": sheet_of(candidates), "seed": seed, "pairs": _texts(candidates)})
    page = HERE.joinpath("sheet.html").read_text(encoding="utf-8")
    page = page.replace("@SCRIPT_HASH@", _hash(script)).replace("@STYLE_HASH@", _hash(style))
    page = page.replace("@STYLE@", style).replace("@SCRIPT@", script)
    # The texts come last, so that nothing in them is taken for a mark.
    return page.replace("@DATA@", data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def sheet_csv(candidates: pa.Table, seed: int) -> str:
    """The same to be filled in by hand: a copy for each annotator, who writes a name and a label into every row.

    Pairs come in random order. A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    sheet = sheet_of(candidates)
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(CSV_COLUMNS)
    for each in sorted(_texts(candidates), key=lambda each: digest([seed, sheet, each["pair"]])):
        writer.writerow([sheet, each["pair"], "", *(_cell(each[name]) for name in ("prompt", "a", "b")), ""])
    # Spreadsheets know UTF-8 by the mark in front.
    return "\ufeff" + file.getvalue()


def sheet_in(path: Path) -> str | None:
    """The identity of the sheet in a CSV of `sheet_csv`; None if it has no pairs."""
    with path.open(encoding="utf-8") as file:
        next(file)
        return next(file, "").partition(",")[0] or None


def _texts(candidates: pa.Table) -> list[dict[str, str]]:
    """What an annotator is shown, and nothing else."""
    texts: list[dict[str, str]] = candidates.select(["pair", "prompt", "a", "b"]).to_pylist()
    return texts


def _cell(text: str) -> str:
    text = text.replace("\0", "\ufffd")
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def _hash(content: str) -> str:
    """The source expression that a content security policy knows an inline script or style by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
