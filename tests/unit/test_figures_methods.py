"""Figures of a study of many methods: what they learn from, what it costs, and stages that have no data in a figure."""

import copy
import itertools
import json
from dataclasses import replace

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from modecollapse import specs
from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, StageInfo
from modecollapse.figures.registry import FIGURES, Drawing, figures_of
from modecollapse.targets import Targets
from modecollapse.yaml_files import read_yaml
from tests.figure_tables import LACKING, methods_context, methods_tables, texts
from tests.studies import SMOKE, parse

OF_STAGES_WITHOUT_COMPLETIONS = (
    "lineage",
    "preference_curves",
    "reward_curves",
    "over_optimisation",
    "reward_accuracy",
)
"""Figures that name the reward model."""
DRAWN_ALWAYS = ["lineage", "training_curves", "reward_curves", "preference_curves", "over_optimisation", "costs"]
DRAWN_ALWAYS += ["quality_diversity", "entropy_floor"]


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return methods_tables()


@pytest.fixture(scope="module")
def context() -> FigureContext:
    return methods_context()


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.mark.parametrize(
    "kind", [kind if kind in DRAWN_ALWAYS else pytest.param(kind, marks=pytest.mark.slow) for kind in FIGURES]
)
def test_each_figure_of_many_methods_is_inside_its_edges_and_silent_about_stages_that_it_has_nothing_of(
    kind: str, tables: dict[str, pd.DataFrame], context: FigureContext, recwarn: pytest.WarningsRecorder
) -> None:
    for size in ("small", "large") if FIGURES[kind].per_size else ("small",):
        of_size = {
            name: f[f["size"] == size] if FIGURES[kind].per_size and "size" in f else f for name, f in tables.items()
        }
        figure = Drawing(kind, size).draw(of_size, replace(context, size=size))
        FigureCanvasAgg(figure).draw()
        assert not [str(warning.message) for warning in recwarn]
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert min(box.x0, box.y0) >= -0.02
        assert box.x1 <= width + 0.02
        assert box.y1 <= height + 0.02
        named = " ".join(texts(figure)).split()
        if kind not in OF_STAGES_WITHOUT_COMPLETIONS:
            assert "RM" not in named
        if size == "large" and kind != "published_panels":
            assert not {stage.upper() for stage in LACKING} & set(named)


def test_scores_are_drawn_with_and_without_the_penalty_beside_those_before_training(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing("reward_curves").draw(tables, context)
    rows = [axes.get_ylabel() for axes in figure.axes[::4]]
    assert rows == ["PPO\n(reward: RM)", "RLOO\n(reward: RM)", "GRPO\n(reward: utility)"]
    logged = tables["training"].query("stage == 'ppo' and size == 'large'")
    thick = [line for line in figure.axes[0].lines if line.get_linewidth() > 1 and line.get_linestyle() == "--"]
    for line, quantity in zip(thick, ("score", "score_minus_kl", "baseline_score"), strict=True):
        means = logged[logged["quantity"] == quantity].groupby("step")["value"].mean()
        assert list(line.get_ydata()) == pytest.approx(list(means))
    assert len({line.get_color() for line in thick}) == 3
    thin = [line for line in figure.axes[0].lines if line.get_linewidth() < 1]
    assert len(thin) == 2 * 2 * 3, "sizes, seeds, quantities"
    assert [axes.get_title() for axes in figure.axes[1:4]] == [
        "KL (nats/answer)",
        "Answer length (tokens)",
        "Entropy (nats/token)",
    ]


def test_log_probabilities_of_answers_are_those_beyond_the_reference_in_nats_or_changes_where_there_is_none(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing("preference_curves").draw(tables, context)
    rows = {axes.get_ylabel(): figure.axes[4 * n : 4 * n + 4] for n, axes in enumerate(figure.axes[::4])}
    assert list(rows) == ["DPO", "IPO", "KTO", "ORPO *", "SIMPO *", "RM", "DPO2"]
    logged = tables["training"].query("size == 'small'")

    def chosen(row: str) -> list[float]:
        return list([line for line in rows[row][2].lines if line.get_linewidth() > 1][-2].get_ydata())

    def means(stage: str, quantity: str) -> pd.Series:
        rows = logged[(logged["stage"] == stage) & (logged["quantity"] == quantity)]
        return rows.groupby("step")["value"].mean()

    assert chosen("IPO") == pytest.approx(list(means("ipo", "rewards/chosen") / 0.5))
    since = means("simpo", "logps/chosen")
    assert chosen("SIMPO *") == pytest.approx(list(since - since.iloc[0]))
    assert chosen("RM") == pytest.approx(list(means("rm", "score/chosen")))
    assert rows["RM"][2].get_ylabel() == "Score"
    assert any("* Without a reference" in text for text in texts(figure))


def test_over_optimisation_is_told_of_reward_models_in_log_odds_against_updates_and_divergence(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing("over_optimisation").draw(tables, context)
    assert legend(figure)[:3] == ["score of RM, in PPO", "score of RM, in RLOO", "true utility"]
    logged = tables["training"].query("stage == 'rloo' and size == 'small'")
    means = logged.groupby(["quantity", "step"])["value"].mean()
    score, utility = means["score"] - means["score"].iloc[0], (means["utility"] - means["utility"].iloc[0]) * 2.0
    updates, divergence = figure.axes[2:4]
    solid = [line for line in updates.lines if line.get_linewidth() > 1 and line.get_linestyle() == "-"]
    assert list(solid[0].get_ydata()) == pytest.approx(list(score))
    assert list(solid[1].get_ydata()) == pytest.approx(list(utility))
    points = next(line for line in divergence.lines if line.get_marker() == "." and line.get_color() == "black")
    assert list(points.get_xdata()) == pytest.approx(list(means["kl"]))
    assert list(points.get_ydata()) == pytest.approx(list(utility))


def test_costs_show_loss_against_gain_and_divergence_beside_tilted_true_answers(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    known = pd.DataFrame({"task": "creative", "quantity": "kl", "lambda": [0.0, 0.5, 1.0], "value": [0.0, 0.5, 2.0]})
    tilted = tables["truth"][tables["truth"]["task"] == "creative"]
    tilted = pd.concat([tilted.assign(value=tilted["value"] + 0.3), known])
    figure = Drawing("costs").draw({**tables, "truth": tilted}, context)
    stages = [stage.upper() for stage in context.stages if stage not in ("plm", "sft", "rm")]
    assert set(legend(figure)) == {*stages, "true answers, tilted"}
    gain, kl = figure.axes[2:4]
    row = tables["costs"].query("size == 'small' and prompts == 'creative' and stage == 'bon'").iloc[0]
    brown = [line for line in gain.lines if line.get_marker() == style.marks(context.stages)["bon"].marker]
    assert (brown[0].get_xdata()[0], brown[0].get_ydata()[0]) == (row["gain"], row["loss"])
    hollow = [line for line in kl.lines if line.get_markerfacecolor() == "white"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in hollow] == [(row["kl"], row["loss"])]
    for axes, across in ((gain, [0, 0.125, 0.25]), (kl, [0, 0.5, 2.0])):
        curve = next(line for line in axes.lines if line.get_marker() == ".")
        assert list(curve.get_xdata()) == pytest.approx(across)
        assert list(curve.get_ydata()) == pytest.approx([0, 0.125, 0.25])
    assert not [line for line in figure.axes[0].lines if line.get_marker() == "."], "nothing is known of these prompts"
    without = Drawing("costs").draw({name: tables[name] for name in ("costs", "divergence")}, context)
    assert "true answers, tilted" not in legend(without)


def test_bars_of_sizes_that_lack_stages_stand_together_in_the_middle_of_their_place(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    one = tables["attribution"].query("level == 'token' and metric == 'entropy'")
    figure = Drawing("token_attribution").draw({"attribution": one, "tokens_pooled": one}, context)
    middles = sorted({round(bar.get_x() + bar.get_width() / 2, 6) for bar in figure.axes[0].patches})
    small, large = [at for at in middles if at < 0.5], [at for at in middles if at > 0.5]
    assert (len(small), len(large)) == (9, 7)
    assert sum(large) / len(large) == pytest.approx(1.0)
    assert large[1] - large[0] == pytest.approx(small[1] - small[0], abs=1e-5)


def test_the_diagram_of_many_methods_draws_second_parents_dashed_past_all_boxes_and_says_which_sizes_have_a_stage(
    context: FigureContext,
) -> None:
    figure = Drawing("lineage").draw({}, context)
    patches = figure.axes[0].patches
    boxes = [patch.get_bbox() for patch in patches if type(patch).__name__ == "FancyBboxPatch"]
    arrows = [patch for patch in patches if type(patch).__name__ == "FancyArrowPatch"]
    assert len(arrows) == sum(len(info.parents) for info in context.stages.values())
    dashed = [arrow for arrow in arrows if arrow.get_linestyle() in ("--", "dashed")]
    assert len(dashed) == 6
    assert len({tuple(arrow._path_original.vertices[-1]) for arrow in arrows}) == len(arrows), "no two end in one point"
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    for arrow in arrows:
        for x, y in arrow._path_original.interpolated(20).vertices:
            assert not any(box.x0 + 0.01 < x < box.x1 - 0.01 and box.y0 < y < box.y1 for box in boxes)
    assert texts(figure).count("only small") == len(LACKING)
    assert "Methods · stages for sizes small, large where nothing else is said" in texts(figure)


def test_names_of_temperatures_stand_at_one_line_only_where_there_are_many(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing("quality_diversity").draw(tables, context)
    axes = figure.axes[0]
    assert sorted(text.get_text() for text in axes.texts) == ["T 0.5", "T 1.5"]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert len(hollow) == sum(bool(info.label) for info in context.stages.values()) - 1, (
        "all stages but the reward model"
    )


def test_training_curves_of_many_runs_leave_out_what_other_figures_show(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    titles = {axes.get_title() for axes in Drawing("training_curves").draw(tables, context).axes}
    assert {"PLM: loss", "DPO: entropy", "PPO: clip_share"} <= titles
    assert not {"DPO: rewards/margins", "DPO: loss", "RM: accuracy", "PPO: score", "GRPO: kl"} & titles
    few = FigureContext("t", {s: context.stages[s] for s in ("sft", "dpo", "ppo")}, context.sizes, {}, "1.0")
    titles = {axes.get_title() for axes in Drawing("training_curves").draw(tables, few).axes}
    assert {"DPO: rewards/margins", "DPO: loss"} <= titles
    assert "PPO: score" not in titles


def test_eighteen_stages_differ_in_colour_fourteen_in_marker_and_the_first_seven_look_as_ever() -> None:
    looks = list(style.marks({name: StageInfo(name) for name in map(str, range(18))}).values())
    assert [look.colour for look in looks[:7]] == [
        "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000",
    ]  # fmt: skip
    assert "".join(look.marker for look in looks[:9]) == "os^DvPX<>"
    assert len({look.marker for look in looks[:14]}) == 14
    for one, other in itertools.combinations([to_rgb(look.colour) for look in looks], 2):
        assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 > 0.19
    many = style.marks({name: StageInfo(name) for name in map(str, range(252))})
    assert len(set(many.values())) == 252


def test_a_study_has_figures_of_rewards_and_pairs_only_if_a_stage_learns_from_them() -> None:
    tables = ["training", "costs", "divergence"]
    assert {"costs", "training_curves"} <= set(figures_of(tables, ["S"]))
    assert not {"reward_curves", "preference_curves", "over_optimisation"} & set(figures_of(tables, ["S"]))
    assert {"reward_curves", "preference_curves"} <= set(figures_of(tables, ["S"], ["rewards", "pairs"]))
    smoke = parse(copy.deepcopy(read_yaml(SMOKE)))
    assert not {"reward_curves", "over_optimisation"} & set(Targets(smoke).drawings())


def test_figures_know_of_their_study_what_they_ask_for_and_no_more() -> None:
    content = copy.deepcopy(read_yaml(SMOKE))
    learning = {"from": "sft", "data": "preferences", "max_length": 128}
    content["stages"]["rm"] = {"method": "reward", **learning, "max_prompt_length": 64}
    content["stages"]["ppo"] = {"method": "ppo", "reward": "rm", "sizes": ["tiny"], **learning, "max_new_tokens": 24}
    study = parse(content)
    drawings = Targets(study).drawings()
    assert {"reward_curves", "preference_curves", "over_optimisation"} <= set(drawings)
    known = {kind: json.loads(specs.figure_spec(study, drawings[kind]))["context"] for kind in drawings}
    assert known["reward_curves"]["rewards"] == {"ppo": "rm"}
    assert known["preference_curves"]["log_ratio_scales"] == {"tiny": {"dpo": 0.1}}
    assert known["over_optimisation"]["sharpness"] == 1.5
    assert known["lineage"]["some_sizes"] == {"ppo": ["tiny"]}
    assert not {"rewards", "log_ratio_scales", "sharpness", "some_sizes"} & set(known["training_curves"])
    context = FigureContext.from_spec(known["over_optimisation"], ["tiny"])
    assert (context.rewards, context.sharpness) == ({"ppo": "rm"}, 1.5)
    assert FigureContext.from_spec(known["lineage"], ["tiny"]).stages["ppo"].sizes == ("tiny",)
