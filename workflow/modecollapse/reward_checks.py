"""What scores answers fits what it is asked for: by stages, by data sets that stages write, and by measures."""

from modecollapse import lineage
from modecollapse.config import StudyConfig
from modecollapse.config_errors import check_names
from modecollapse.data.columns import PAIR_COLUMNS
from modecollapse.data_checks import check_columns
from modecollapse.data_config import Sampled
from modecollapse.data_lineage import is_of_model, stages_of
from modecollapse.errors import StudyError
from modecollapse.methods import METHODS
from modecollapse.methods.reward_functions import ANNOTATORS, FUNCTIONS, LABELLERS

TRAIN = "train"
"""What tables call the data set that a reward model was trained on."""


def check_rewards(config: StudyConfig) -> None:
    """What scores answers is a reward stage or a function, where a method asks for it, and nothing continues one."""
    scoring = [name for name, stage in config.stages.items() if stage.has("scores")]
    for name, stage in config.stages.items():
        key, method = f"stages.{name}", METHODS.get(stage.method)
        if name in FUNCTIONS:
            raise StudyError(f"{key}: {name!r} is a reward function. Give the stage another name.")
        if stage.parent in scoring:
            raise StudyError(
                f"{key}.from: {stage.parent} is a reward model: it scores answers and cannot write any. Name the stage "
                f"that it judges, and give this one `reward: {stage.parent}` if its method takes one."
            )
        if stage.parent in config.stages and config.stages[stage.parent].has("decodes"):
            raise StudyError(
                f"{key}.from: {stage.parent} only chooses among answers of {config.stages[stage.parent].parent} and "
                "has no weights of its own. Name a stage with weights."
            )
        if name in scoring and stage.formats is not None:
            raise StudyError(f"{key}.formats: a reward model is asked nothing. Remove it.")
        if method is None or not method.needs_reward:
            if stage.reward is not None:
                raise StudyError(f"{key}.reward: the method {stage.method} needs none. Remove it.")
            continue
        if stage.parent is None:
            raise StudyError(f"{key}.from: the method {method.name} answers as another stage does. Add `from: STAGE`.")
        allowed = f"Allowed: {', '.join([*scoring, *FUNCTIONS])}"
        if stage.reward is None:
            raise StudyError(f"{key}.reward: the method {method.name} needs what scores answers. {allowed}. Add one.")
        if stage.reward not in scoring and stage.reward not in FUNCTIONS:
            other = config.stages.get(stage.reward)
            kind = "no stage of the study" if other is None else f"of the method {other.method}, which gives no scores"
            found = f"{kind}, and no function"
            raise StudyError(
                f"{key}.reward: {stage.reward!r} is {found}. {allowed}. Name one of these, or add a stage "
                "{method: reward, from: …, data: …}."
            )
        if method.trains and stage.reward in scoring:
            _same_format(config, f"{key}.reward", stage.reward, name)
        if stage.reward == "utility" and config.world is None:
            raise StudyError(
                f"{key}.reward: utility is the true one of a world's answers, but the study has no `world`. Name a "
                "stage of the method reward, or add `world: {seed: 0}`."
            )


def check_sampled(config: StudyConfig) -> None:
    """Data sets that stages write: by one that can, before any that is trained on them, and scored by what can."""
    scoring = [name for name, stage in config.stages.items() if stage.has("scores")]
    for name, data in config.data.items():
        sampled, key = data.sampled, f"data.{name}.sampled"
        if sampled is None:
            continue
        writing = [stage for stage, each in config.stages.items() if each.writes]
        if sampled.stage not in writing:
            check_names(f"{key}.from", [sampled.stage], config.stages, "stage")
            raise StudyError(
                f"{key}.from: {sampled.stage} cannot answer prompts: its method is "
                f"{config.stages[sampled.stage].method}. Allowed: {', '.join(writing)}. Name one of these."
            )
        check_names(f"{key}.prompts", [sampled.prompts], config.data, "data set")
        if is_of_model(config, sampled.prompts):
            raise StudyError(
                f"{key}.prompts: {sampled.prompts} is written by a stage itself, or made from what one writes or "
                "filters. Name the set that its prompts are from."
            )
        check_columns(config, f"{key}.prompts", sampled.prompts, ("prompt",))
        for labeller in LABELLERS:
            if labeller in config.stages:
                raise StudyError(f"stages.{labeller}: data sets name {labeller} so. Give the stage another name.")
        _check_label_files(config, key, sampled)
        if sampled.reward is None:
            continue
        if sampled.reward not in (*scoring, *FUNCTIONS, *LABELLERS):
            found = "a stage that gives no scores" if sampled.reward in config.stages else "no stage of the study"
            raise StudyError(
                f"{key}.reward: {sampled.reward!r} is {found}, and no function. Allowed: "
                f"{', '.join([*scoring, *FUNCTIONS, *LABELLERS])}. Name one of these."
            )
        if sampled.reward in ("utility", ANNOTATORS) and config.world is None:
            raise StudyError(
                f"{key}.reward: {sampled.reward} is of a world, but the study has none. Name a stage of the method "
                "reward, or add `world: {seed: 0}`."
            )
        if sampled.reward in scoring:
            _same_format(config, f"{key}.reward", sampled.reward, sampled.stage)
    _check_circles(config)


def _check_label_files(config: StudyConfig, key: str, sampled: Sampled) -> None:
    """Every size and seed has labels of its own, since each writes other answers."""
    sizes = config.stages[sampled.stage].sizes or tuple(config.models)
    for place, values in (("{size}", sizes), ("{seed}", config.seeds)):
        for file in sampled.labels:
            if len(values) > 1 and place not in file:
                raise StudyError(
                    f"{key}.labels: {file} would hold the labels of {len(values)} sheets, of which each has pairs of "
                    f"its own. Put {place} into the name."
                )


def check_reward_data(config: StudyConfig) -> None:
    """Reward models are judged by data sets of pairs, whose names do not say what another set is."""
    key = "measures.rewards.data"
    for name in config.measures.rewards.data if config.measures.rewards else ():
        check_columns(config, key, name, PAIR_COLUMNS)
        if name == TRAIN:
            raise StudyError(
                f"{key}: tables call the pairs that a reward model was trained on {TRAIN!r}, so no other set can be "
                "called so. Give the data set another name."
            )
        for stage, each in config.stages.items():
            for writer in stages_of(config, name) if each.has("scores") else ():
                there = config.stages[writer].sizes
                if there is not None and set(each.sizes or config.models) - set(there):
                    raise StudyError(
                        f"{key}: {name} is written for the sizes {', '.join(there)} only, which have {writer}, but "
                        f"{stage} has others as well. Give {stage} the same `sizes`, or leave the set out."
                    )


def _same_format(config: StudyConfig, key: str, reward: str, stage: str) -> None:
    """A reward model judges answers to prompts as it was trained on them."""
    own, other = config.stages[reward].train_format, config.stages[stage].train_format
    if own != other:
        raise StudyError(
            f"{key}: {reward} was trained on prompts in the format {own!r}, but {stage} answers them in {other!r}. "
            "Give both the same train_format."
        )


def _check_circles(config: StudyConfig) -> None:
    """No stage is trained on what is written, scored or filtered by itself or by its descendants."""
    parents = config.parents()
    for name, stage in config.stages.items():
        for source in stages_of(config, stage.data) if stage.data else ():
            line = lineage.descent(parents, name, source)
            if line:
                way = " → ".join([*line, stage.data or ""])
                raise StudyError(
                    f"stages.{name}.data: {name} is trained on {stage.data}, which needs {source}, and that descends "
                    f"from {name} ({way}). Have an earlier stage write or filter the set, or train {name} on another."
                )
