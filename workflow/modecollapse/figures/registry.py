"""All figures: what each reads, what draws it, and its caption. Importing this module does not load matplotlib."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from modecollapse.figures.context import FigureContext, Tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class FigureSpec:
    """One kind of figure."""

    module: str
    """Module of this package; its function `function` takes (tables, context, **options)."""
    function: str
    tables: tuple[str, ...]
    """Tables that it reads. It belongs to every study that has all of them."""
    section: str
    """Heading under which reports show it."""
    per_size: bool = False
    """One figure for each size of the study."""
    needs_quality: bool = False
    """Whether it shows quality scores, which not every study has."""
    options: Mapping[str, Any] = field(default_factory=dict)
    uses: tuple[str, ...] = ()
    """Further modules of this package that it draws with."""

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules of this package whose code decides what it looks like, its own first."""
        return (self.module, *self.uses, "context", "labels", "style")


@dataclass(frozen=True)
class Drawing:
    """One figure of a study."""

    kind: str
    """Its key in `FIGURES`, and the name of its caption, ``workflow/report/{kind}.rst``."""
    size: str | None = None

    @property
    def spec(self) -> FigureSpec:
        return FIGURES[self.kind]

    @property
    def caption(self) -> str:
        return f"{self.kind}.rst"

    def draw(self, tables: Tables, context: FigureContext) -> "Figure":
        """The figure, from its tables; `context.size` must be this drawing's size."""
        module = import_module(f"modecollapse.figures.{self.spec.module}")
        figure: Figure = getattr(module, self.spec.function)(tables, context, **self.spec.options)
        return figure


_OUTPUT, _TOKENS, _ATTRIBUTION, _NANO, _STUDY, _PUBLISHED, _BENCHMARKS = (
    "Output diversity",
    "Token level",
    "Attribution",
    "Against the truth",
    "The study",
    "Comparison with stored results",
    "Benchmarks",
)

FIGURES: Mapping[str, FigureSpec] = {
    "lineage": FigureSpec("lineage", "lineage", (), _STUDY),
    "training_curves": FigureSpec("training", "training_curves", ("training",), _STUDY),
    "self_bleu_cosine": FigureSpec("curves", "self_bleu_cosine", ("curves",), _OUTPUT, per_size=True),
    "output_metrics": FigureSpec("curves", "output_metrics", ("curves",), _OUTPUT, per_size=True),
    "whole_completions": FigureSpec(
        "curves", "output_metrics", ("curves",), _OUTPUT, per_size=True, options={"words": 0}
    ),
    "quality_diversity": FigureSpec(
        "tradeoff", "quality_diversity", ("curves",), _OUTPUT, per_size=True, needs_quality=True
    ),
    "samples": FigureSpec("samples", "samples", ("samples",), _OUTPUT, per_size=True),
    "vocabulary_cdf": FigureSpec("token_level", "vocabulary_cdf", ("vocabulary_cdf",), _TOKENS),
    "token_table": FigureSpec("token_level", "token_table", ("tokens_pooled",), _TOKENS),
    "attribution": FigureSpec("attribution", "attribution", ("attribution",), _ATTRIBUTION),
    "attribution_at_temperature": FigureSpec(
        "attribution", "attribution", ("attribution",), _ATTRIBUTION, options={"mean": False}
    ),
    "matched_attribution": FigureSpec(
        "attribution", "matched_attribution", ("attribution", "matched_attribution"), _ATTRIBUTION
    ),
    "token_attribution": FigureSpec("attribution", "token_attribution", ("attribution", "tokens_pooled"), _ATTRIBUTION),
    "truth": FigureSpec("truth", "truth", ("truth", "curves"), _NANO),
    "entropy_floor": FigureSpec("truth", "entropy_floor", ("truth", "tokens_pooled"), _NANO),
    "published_panels": FigureSpec(
        "published", "published_panels", ("published",), _PUBLISHED, per_size=True, uses=("curves",)
    ),
    "benchmarks": FigureSpec("benchmarks", "benchmarks", ("benchmarks_pooled",), _BENCHMARKS),
    "quality": FigureSpec("curves", "quality", ("truth", "curves"), _NANO, per_size=True),
}


def figures_of(tables: Sequence[str], sizes: Sequence[str], quality: bool = False) -> dict[str, Drawing]:
    """The figures of a study with these tables and sizes, perhaps with quality scores, by file name without suffix."""
    drawings = {}
    for kind, spec in FIGURES.items():
        if not set(spec.tables) <= set(tables) or (spec.needs_quality and not quality):
            continue
        if spec.per_size:
            drawings.update({f"{kind}_{size}": Drawing(kind, size) for size in sizes})
        else:
            drawings[kind] = Drawing(kind)
    return drawings
