"""All figures: what each reads, what draws it, and its caption. Importing this module does not load matplotlib."""

import itertools
from collections.abc import Collection, Mapping, Sequence
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
    needs: str | None = None
    """What it shows that not every study has, one of `features.FEATURES`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    without_sizes: bool = False
    """Whether there is one in studies that have no sizes."""
    per_view: bool = False
    """One figure for each prompt format, or choice of formats, in studies that have several."""
    compares: bool = False
    """Whether it needs stages of a path that are compared, which not every view has."""
    further_tables: tuple[str, ...] = ()
    """Tables that it reads beside in studies that have them."""
    facts: tuple[str, ...] = ()
    """What it has to know of stages beside the context of all figures, among `features.FACTS`."""
    uses: tuple[str, ...] = ()
    """Further modules of this package that it draws with."""

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules of this package whose code decides what it looks like, its own first."""
        return (self.module, *self.uses, "context", "labels", "notes", "style")


@dataclass(frozen=True)
class Drawing:
    """One figure of a study."""

    kind: str
    """Its key in `FIGURES`, and the name of its caption, ``workflow/report/{kind}.rst``."""
    size: str | None = None
    view: str | None = None
    """The prompt format, or the study's own choice of formats, that it shows; None in studies of one format."""

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
        if context.failing:
            import_module("modecollapse.figures.notes").append_notes(figure, context.failing)
        return figure


_OUTPUT = "Output diversity"
_TOKENS = "Token level"
_ATTRIBUTION = "Attribution"
_NANO = "Against the truth"
_STUDY = "The study"
_TUNING = "Rewards and preferences"
_PUBLISHED = "Comparison with stored results"
_BENCHMARKS = "Benchmarks"
_REWARDS = "Reward models"
_DATA = "Preference data"
_JUDGES = "Judges"
_CREATIVITY = "Creativity"
_FEATURES = "Text features"

FIGURES: Mapping[str, FigureSpec] = {
    "lineage": FigureSpec("lineage", "lineage", (), _STUDY, facts=("some_sizes",)),
    "training_curves": FigureSpec("training", "training_curves", ("training",), _STUDY, uses=("logged",)),
    "reward_curves": FigureSpec(
        "optimisation", "reward_curves", ("training",), _TUNING, needs="rewards", facts=("rewards",), uses=("logged",)
    ),
    "preference_curves": FigureSpec(
        "preferences",
        "preference_curves",
        ("training",),
        _TUNING,
        needs="pairs",
        facts=("log_ratio_scales",),
        uses=("logged",),
    ),
    "over_optimisation": FigureSpec(
        "optimisation",
        "over_optimisation",
        ("training",),
        _TUNING,
        needs="proxies",
        facts=("rewards", "sharpness"),
        uses=("logged",),
    ),
    "costs": FigureSpec("costs", "costs", ("costs", "divergence"), _TUNING, per_view=True, further_tables=("truth",)),
    "self_bleu_cosine": FigureSpec("curves", "self_bleu_cosine", ("curves",), _OUTPUT, per_size=True, per_view=True),
    "output_metrics": FigureSpec("curves", "output_metrics", ("curves",), _OUTPUT, per_size=True, per_view=True),
    "whole_completions": FigureSpec(
        "curves", "output_metrics", ("curves",), _OUTPUT, per_size=True, per_view=True, options={"words": 0}
    ),
    "quality_diversity": FigureSpec(
        "tradeoff", "quality_diversity", ("curves",), _OUTPUT, per_size=True, per_view=True, needs="quality"
    ),
    "repetition": FigureSpec(
        "repetition", "repetition", ("repetition",), _OUTPUT, per_size=True, per_view=True, uses=("curves",)
    ),
    "samples": FigureSpec(
        "samples", "samples", ("samples",), _OUTPUT, per_size=True, per_view=True, uses=("side_by_side",)
    ),
    "vocabulary_cdf": FigureSpec("token_level", "vocabulary_cdf", ("vocabulary_cdf",), _TOKENS),
    "token_table": FigureSpec("token_level", "token_table", ("tokens_pooled",), _TOKENS),
    "attribution": FigureSpec(
        "attribution", "attribution", ("attribution",), _ATTRIBUTION, per_view=True, compares=True
    ),
    "attribution_at_temperature": FigureSpec(
        "attribution",
        "attribution",
        ("attribution",),
        _ATTRIBUTION,
        per_view=True,
        compares=True,
        options={"mean": False},
    ),
    "matched_attribution": FigureSpec(
        "attribution",
        "matched_attribution",
        ("attribution", "matched_attribution"),
        _ATTRIBUTION,
        per_view=True,
        compares=True,
    ),
    "format_effect": FigureSpec(
        "format_effect", "format_effect", ("format_effect",), _ATTRIBUTION, uses=("attribution",)
    ),
    "token_attribution": FigureSpec("attribution", "token_attribution", ("attribution", "tokens_pooled"), _ATTRIBUTION),
    "truth": FigureSpec("truth", "truth", ("truth", "curves"), _NANO, per_view=True),
    "entropy_floor": FigureSpec("truth", "entropy_floor", ("truth", "tokens_pooled"), _NANO),
    "published_panels": FigureSpec(
        "published", "published_panels", ("published",), _PUBLISHED, per_size=True, uses=("curves",)
    ),
    "quality": FigureSpec("curves", "quality", ("truth", "curves"), _NANO, per_size=True, per_view=True),
    "benchmarks": FigureSpec("benchmarks", "benchmarks", ("benchmarks_pooled",), _BENCHMARKS),
    "candidates": FigureSpec("candidates", "candidates", ("candidates",), _BENCHMARKS),
    "reward_accuracy": FigureSpec("rewards", "reward_accuracy", ("rewards",), _REWARDS),
    "perplexity_filter": FigureSpec(
        "perplexity", "perplexity_filter", ("perplexities", "filters"), _DATA, per_size=True
    ),
    "data_cards": FigureSpec("data_cards", "data_cards", ("data_cards",), _DATA, per_size=True),
    "win_rates": FigureSpec("win_rates", "win_rates", ("win_rates",), _JUDGES, per_size=True),
    "judge_agreement": FigureSpec("win_rates", "judge_agreement", ("judge_agreement",), _JUDGES),
    "semantic": FigureSpec(
        "semantic",
        "semantic",
        ("semantic",),
        _CREATIVITY,
        per_size=True,
        per_view=True,
        facts=("questions",),
        uses=("panel_grid",),
    ),
    "semantic_map": FigureSpec(
        "semantic",
        "semantic_map",
        ("semantic_outputs",),
        _CREATIVITY,
        per_size=True,
        per_view=True,
        facts=("questions",),
        uses=("panel_grid",),
    ),
    "attractor": FigureSpec(
        "attractor",
        "attractor",
        ("attractor",),
        _CREATIVITY,
        per_size=True,
        uses=("coloured_text", "panel_grid", "token_colours"),
    ),
    "attractor_tokens": FigureSpec(
        "attractor",
        "attractor_tokens",
        ("attractor_tokens",),
        _CREATIVITY,
        per_size=True,
        uses=("coloured_text", "panel_grid", "token_colours"),
    ),
    "confidence": FigureSpec(
        "confidence",
        "confidence",
        ("confidence_tokens",),
        _CREATIVITY,
        per_size=True,
        uses=("coloured_text", "token_colours"),
    ),
    "top_entropy": FigureSpec(
        "top_entropy",
        "top_entropy",
        ("top_entropy", "top_entropy_outputs"),
        _CREATIVITY,
        per_size=True,
        facts=("questions",),
        uses=("panel_grid",),
    ),
    "top_entropy_sample": FigureSpec(
        "top_entropy",
        "top_entropy_sample",
        ("top_entropy_tokens",),
        _CREATIVITY,
        per_size=True,
        facts=("questions",),
        uses=("panel_grid",),
    ),
    "next_tokens": FigureSpec(
        "probes",
        "next_tokens",
        ("next_tokens",),
        _CREATIVITY,
        per_size=True,
        facts=("questions",),
        uses=("side_by_side",),
    ),
    "choices": FigureSpec(
        "probes",
        "choices",
        ("choices", "choice_summary"),
        _CREATIVITY,
        per_size=True,
        facts=("questions",),
        uses=("side_by_side",),
    ),
    "responses": FigureSpec(
        "probes",
        "responses",
        ("responses",),
        _CREATIVITY,
        per_size=True,
        facts=("questions",),
        uses=("side_by_side",),
    ),
    "persona_names": FigureSpec(
        "personas",
        "persona_names",
        ("persona_values", "personas"),
        _CREATIVITY,
        per_size=True,
        uses=("panel_grid", "semantic"),
    ),
    "persona_fields": FigureSpec(
        "personas",
        "persona_fields",
        ("persona_values", "personas"),
        _CREATIVITY,
        per_size=True,
        uses=("panel_grid", "semantic"),
    ),
    "persona_reviews": FigureSpec(
        "personas",
        "persona_reviews",
        ("persona_reviews", "personas"),
        _CREATIVITY,
        per_size=True,
        uses=("panel_grid", "semantic"),
    ),
    "persona_map": FigureSpec(
        "personas",
        "persona_map",
        ("persona_sentences", "persona_clusters"),
        _CREATIVITY,
        per_size=True,
        uses=("panel_grid", "semantic"),
    ),
    "feature_differences": FigureSpec(
        "text_features",
        "feature_differences",
        ("text_features",),
        _FEATURES,
        per_size=True,
        without_sizes=True,
        uses=("feature_labels", "feature_sides"),
    ),
    "feature_agreement": FigureSpec(
        "text_features",
        "feature_agreement",
        ("text_features", "text_feature_alignment"),
        _FEATURES,
        per_size=True,
        uses=("feature_labels", "feature_sides"),
    ),
    "feature_p_values": FigureSpec(
        "text_features",
        "feature_p_values",
        ("text_features",),
        _FEATURES,
        per_size=True,
        without_sizes=True,
        uses=("feature_labels", "feature_sides"),
    ),
    "feature_alignment": FigureSpec(
        "text_features",
        "feature_alignment",
        ("text_features", "text_feature_alignment"),
        _FEATURES,
        per_size=True,
        uses=("feature_labels", "feature_sides"),
    ),
    "toy_bandit": FigureSpec("toy_bandit", "toy_bandit", ("toy_bandit",), _CREATIVITY),
}


def figures_of(
    tables: Sequence[str],
    sizes: Sequence[str],
    features: Collection[str] = (),
    views: Sequence[str] = (),
    compared: Sequence[str] = (),
) -> dict[str, Drawing]:
    """The figures of a study by file name without suffix: that of the first view has the plain name.

    Args:
        tables: the study's tables.
        sizes: its sizes.
        features: what it has that not every study has, of `features.FEATURES`.
        views: its choices of prompt formats, none if it has one only.
        compared: those of them that have the stages of a path.
    """
    drawings = {}
    for kind, spec in FIGURES.items():
        if not set(spec.tables) <= set(tables) or (spec.needs and spec.needs not in features):
            continue
        if not sizes and not spec.without_sizes:
            continue
        of_kind = (compared if spec.compares else views) if spec.per_view else ()
        each_view: Sequence[str | None] = of_kind or [None]
        each_size: Sequence[str | None] = sizes if spec.per_size and sizes else [None]
        for size, view in itertools.product(each_size, each_view):
            name = kind if size is None else f"{kind}_{size}"
            # No size or format has a "+" in its name, so no two figures have one name.
            drawings[name if view == each_view[0] else f"{name}+{view}"] = Drawing(kind, size, view)
    return drawings
