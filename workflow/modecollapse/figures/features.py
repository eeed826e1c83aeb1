"""What figures need of a study that not every study has, and what some of them have to know of its stages."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modecollapse.methods.base import Method
    from modecollapse.study import Study


def _learns_from_rewards(method: "Method") -> bool:
    return method.needs_reward and not method.decodes


def _compares_answers(method: "Method") -> bool:
    return {"chosen", "rejected"} <= set(method.data_columns)


def _any(study: "Study", has: Callable[["Method"], bool]) -> bool:
    methods = (study.method(model) for model in study.trained())
    return any(method is not None and has(method) for method in methods)


def _has_proxies(study: "Study") -> bool:
    if study.config.world is None:
        return False
    learning = (model for model in study.trained() if (method := study.method(model)) and _learns_from_rewards(method))
    return any(study.reward(model) is not None for model in learning)


FEATURES: Mapping[str, Callable[["Study"], bool]] = {
    "quality": lambda study: study.scores_quality(),
    "rewards": lambda study: _any(study, _learns_from_rewards),
    "pairs": lambda study: _any(study, _compares_answers),
    "proxies": _has_proxies,
}
"""Whether a study has quality scores; stages that learn from rewards; stages that learn from pairs of answers; a world
and stages that learn in it from a reward model."""


def features_of(study: "Study") -> list[str]:
    """The features that a study has."""
    return [name for name, has in FEATURES.items() if has(study)]


def _rewards(study: "Study") -> dict[str, str]:
    return {name: stage.reward for name, stage in study.config.stages.items() if stage.reward is not None}


def _log_ratio_scales(study: "Study") -> dict[str, dict[str, float]]:
    scales: dict[str, dict[str, float]] = {}
    for model in study.trained():
        method = study.method(model)
        if method is not None and method.reward_setting is not None:
            # Models of all seeds have the same settings.
            of_size = scales.setdefault(model.size, {})
            of_size[model.stage] = float(getattr(study.settings(model), method.reward_setting))
    return scales


def _sharpness(study: "Study") -> float:
    return 1.0 if study.config.world is None else study.config.world.sharpness


def _some_sizes(study: "Study") -> dict[str, list[str]] | None:
    stages = study.config.stages.items()
    return {name: list(stage.sizes) for name, stage in stages if stage.sizes is not None} or None


def _questions(study: "Study") -> dict[str, dict[str, str]]:
    measures = study.config.measures
    entropy, probes = measures.top_entropy, measures.probes
    choices = {name: choice.text for name, choice in probes.choices.items()} if probes else {}
    return {
        "top_entropy": {"top_entropy": entropy.text} if entropy else {},
        "choices": choices,
        "responses": dict(probes.responses) if probes else {},
        "semantic": dict(measures.semantic.asked) if measures.semantic else {},
    }


FACTS: Mapping[str, Callable[["Study"], Any]] = {
    "some_sizes": _some_sizes,
    "rewards": _rewards,
    "log_ratio_scales": _log_ratio_scales,
    "sharpness": _sharpness,
    "questions": _questions,
}
"""Facts by the key of a figure's spec that holds them; None is left out of it."""
