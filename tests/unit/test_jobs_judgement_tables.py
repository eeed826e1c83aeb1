"""The tables of judged comparisons as files, and the page of pairs."""

import re

import pandas as pd

from modecollapse.cells import Model
from modecollapse.comparison.page import render
from modecollapse.identities import identity_metadata
from modecollapse.jobs.judgement_tables import judged_pairs_table, page_sections, tabulate_judgements
from modecollapse.judging.pairs import Judged, judgements_table
from modecollapse.judging.verdicts import ORDERS, Verdict
from modecollapse.publishing import verify_digests
from modecollapse.sealed import read_sealed, write_sealed
from tests.judged_pairs import pair

SPEC = {"analysis": {"resamples": 200, "seed": 0}, "reference": "sft", "labels": {"sft": "SFT", "dpo": "DPO"}}
ATTACK = "<script>alert(1)</script> & <img src=x onerror=alert(2)>"


def judgements(path, judge, seed=0, prompts=8, **changes):
    judged = []
    for number in range(prompts):
        for sample in range(4):
            one = pair(number, sample=sample, task="chat" if number % 2 else "poem", **changes)
            if judge == "gpt":
                judged += [(one, Judged(Verdict.WIN, order, ATTACK, "m")) for order in ORDERS]
            else:
                judged.append((one, Judged(Verdict.LOSS, scores=(0.5, 1.5))))
    metadata = {**identity_metadata(Model("tiny", seed, "dpo")), "judge": judge}
    write_sealed(judgements_table(judged), path, metadata)
    return path


def outputs(directory, *names):
    files = {name: directory / f"{name}.parquet" for name in names} | {
        f"{name}_csv": directory / f"{name}.csv" for name in names
    }
    return {**files, "page": directory / "pairs.html", "page_sha256": directory / "pairs.sha256"}


def test_every_judge_has_its_rates_and_a_page_shows_both_texts_escaped(tmp_path):
    files = [judgements(tmp_path / f"{judge}.parquet", judge, ours=ATTACK) for judge in ("gpt", "rm")]
    made = outputs(tmp_path / "out", "win_rates", "judge_agreement", "judged_pairs")
    tabulate_judgements(SPEC, files, made)
    rates = read_sealed(made["win_rates"]).to_pandas()
    assert rates.set_index(["judge", "task"])["value"].to_dict() == {
        (judge, task): value for judge, value in (("gpt", 1.0), ("rm", 0.0)) for task in ("all", "poem", "chat")
    }
    assert read_sealed(made["judge_agreement"])["agreement"].to_pylist() == [0.0] * 6
    page = made["page"].read_text()
    assert not re.search(r"<(script|img)", page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<h2>DPO beside SFT, tiny: creative/c" in page
    verify_digests(made["page_sha256"])


def test_of_one_judge_there_is_no_table_of_agreement(tmp_path):
    made = outputs(tmp_path / "out", "win_rates", "judged_pairs")
    tabulate_judgements(SPEC, [judgements(tmp_path / "rm.parquet", "rm")], made)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in made.values())


def test_the_shown_pairs_are_the_same_of_all_stages_and_judges_of_one_seed_and_few_of_each_task(tmp_path):
    judged = {}
    for judge in ("gpt", "rm"):
        for seed in (1, 0):
            path = judgements(tmp_path / f"{judge}{seed}.parquet", judge, seed)
            for stage in ("dpo", "ppo"):
                judged[judge, Model("tiny", seed, stage)] = read_sealed(path).to_pandas()
    table = judged_pairs_table(judged, "sft", 0)
    assert set(table["seed"]) == {0}
    shown = table.groupby(["stage", "judge"])[["prompt", "sample"]].apply(
        lambda rows: frozenset(map(tuple, rows.values))
    )
    assert len(set(shown)) == 1
    assert {task: len(set(rows["prompt"])) for task, rows in table.groupby("task")} == {"chat": 3, "poem": 3}
    assert set(table["sample"]) == {0, 1}
    assert len(list(page_sections(table, SPEC["labels"] | {"ppo": "PPO"}, {}))) == 2 * 6 * 2


def test_a_stage_is_marked_on_the_page_in_the_sizes_in_which_it_fails(tmp_path):
    frame = read_sealed(judgements(tmp_path / "rm.parquet", "rm")).to_pandas()
    pairs = judged_pairs_table({("rm", Model(size, 0, "dpo")): frame for size in ("tiny", "small")}, "sft", 0)
    headings = [section.heading for section in page_sections(pairs, SPEC["labels"], {"tiny": frozenset({"dpo"})})]
    begins = {heading.split(":")[0] for heading in headings}
    assert begins == {"DPO† (falls below its guard rails) beside SFT, tiny", "DPO beside SFT, small"}


def test_a_page_without_pairs_is_a_page():
    empty = judged_pairs_table({}, "sft", 0)
    assert "Judged pairs" in render(list(page_sections(pd.DataFrame(empty), {}, {})), "Judged pairs of answers")
