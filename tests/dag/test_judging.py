"""What judges are asked for, and asked again: each depends on the answers that it compares and on itself."""

import csv
from collections.abc import Iterator

import pytest

from modecollapse.sealed import read_sealed
from tests.judge_server import KEY, JudgeServer, judge_server
from tests.projects import Project

MEASURES = "measures:\n"
JUDGED = """measures:
  judgements:
    reference: plm
    completions: 2
    judges:
      truth: {{reward: utility}}
      gpt: {{endpoint: {{base_url: "{url}", model: judge-1, key_from: SMOKE_JUDGE_KEY, max_tokens: 9}}}}
"""
TABLES = ["plot_judge_agreement", "plot_win_rates_tiny", "tabulate_judgements"]


def by(rule: str, judge: str) -> list[str]:
    return [f"judge_by_{rule} {judge}/tiny/s0/{stage}" for stage in ("dpo", "sft")]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    monkeypatch.setenv("SMOKE_JUDGE_KEY", KEY)
    with judge_server() as server:
        yield server


@pytest.fixture
def judged(finished: Project, server: JudgeServer) -> Project:
    """The smoke study with two judges, which have judged."""
    finished.edit_study(MEASURES, JUDGED.format(url=server.base_url))
    assert finished.plan() == sorted(by("endpoint", "gpt") + by("reward", "truth") + TABLES), "nothing else is stale"
    finished.run()
    return finished


@pytest.mark.slow
def test_judges_judge_alone_and_nothing_that_was_answered_is_asked_again(judged: Project, server: JudgeServer) -> None:
    assert judged.plan() == []
    assert "intact" in judged.run("verify")
    asked = len(server.asked)
    assert asked > 0
    assert asked == len(server.answered), "each request is made once"
    assert not [path for path in judged.root.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]

    judged.edit_study("truth: {reward: utility}", "truth: {reward: utility}\n      words: {reward: words}")
    assert judged.plan() == sorted(by("reward", "words") + TABLES)
    judged.run()
    agreement = read_sealed(judged.result("tables/judge_agreement.parquet")).to_pandas()
    assert set(zip(agreement["judge"], agreement["other"], strict=True)) == {
        ("truth", "words"),
        ("truth", "gpt"),
        ("words", "gpt"),
    }
    same = agreement[(agreement["judge"] == "words") & (agreement["task"] == "all")]
    assert (same["agreement"] > 0.5).all(), "the server prefers what is longer, in characters"

    judged.edit_study("model: judge-1,", "model: judge-1, requests_per_minute: 9000, budget: {requests: 500},")
    assert judged.plan() == [], "how an endpoint is asked is no part of what it says"
    judged.edit_study("max_tokens: 9", "max_tokens: 9, criteria: {factual: [it is true]}")
    assert judged.plan() == sorted(by("endpoint", "gpt") + TABLES)
    judged.run()
    assert asked < len(server.asked) == len(server.answered), "only what is now asked differently"
    assert len(server.asked) < 2 * asked

    before = len(server.asked)
    judged.edit_study(", criteria: {factual: [it is true]}", "")
    judged.run()
    assert len(server.asked) == before, "going back costs nothing"

    judged.edit_study("completions: 2", "completions: 3")
    assert judged.plan() == sorted(by("endpoint", "gpt") + by("reward", "truth") + by("reward", "words") + TABLES)


@pytest.mark.slow
def test_a_key_that_is_not_there_stops_the_run_before_its_first_job(
    finished: Project, server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished.edit_study(MEASURES, JUDGED.format(url=server.base_url))
    monkeypatch.delenv("SMOKE_JUDGE_KEY")
    output = finished.run(succeeds=False)
    assert "judges.gpt.endpoint.key_from: the environment variable SMOKE_JUDGE_KEY is not set" in output
    assert "Nothing was started" in output
    assert not server.asked
    assert len(finished.plan()) == 7, "a plan needs no key"


@pytest.mark.slow
def test_a_reward_model_judges_answers_and_people_get_a_sheet(finished: Project) -> None:
    rm = "{method: reward, from: sft, data: preferences, max_length: 128, max_prompt_length: 64, batch_size: 16}"
    finished.edit_study("seeds: [0]\n", f"  rm: {rm}\n\nseeds: [0]\n")
    judges = "{rm: {reward: rm}, truth: {reward: utility}, people: {labels: []}}"
    finished.edit_study(MEASURES, f"measures:\n  judgements: {{reference: sft, judges: {judges}}}\n")
    finished.run("tables", "measurements")
    table = read_sealed(finished.result("judgements/rm/tiny/s0/dpo.parquet")).to_pandas()
    assert len(table) == 3 * 12, "three completions of twelve prompts at one temperature"
    judged = table[table["text"] != table["reference_text"]]
    won = judged["score"] > judged["reference_score"]
    assert (judged["verdict"][won] == "win").all()
    assert (judged["verdict"][~won] != "win").all()
    cells = [
        read_sealed(path).to_pylist() for path in sorted(finished.result("generations/tiny/s0/dpo").rglob("T1.0*"))
    ]
    assert list(table["text"]) == [row["text"].strip() for rows in cells for row in rows]
    assert table["task"].tolist() == table["prompts"].tolist()
    rates = read_sealed(finished.result("tables/win_rates.parquet")).to_pandas()
    assert set(rates["judge"]) == {"rm", "truth"}
    assert set(rates["task"]) == {"all", "creative", "factual"}
    page = finished.result("sheets/people/tiny/s0/dpo.html").read_text()
    assert "rm" not in page.split("<script")[0].split()
    assert finished.plan("tables", "measurements") == []


def test_people_label_a_sheet_and_their_labels_are_verdicts(finished: Project) -> None:
    judges = "{truth: {reward: utility}, people: {labels: [], overlap: 2}}"
    finished.edit_study(MEASURES, f"measures:\n  judgements: {{reference: sft, judges: {judges}}}\n")
    assert finished.plan("labelling_sheets") == ["write_comparison_sheet people/tiny/s0/dpo"]
    finished.run("labelling_sheets")
    with finished.result("sheets/people/tiny/s0/dpo.csv").open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    (finished.root / "labels").mkdir()
    for annotator in ("anna", "ben"):
        # Both find the longer answer better; of the first pair they think differently.
        of_rows = ["a" if len(row[4]) > len(row[5]) else "b" for row in rows]
        if annotator == "ben":
            of_rows[0] = "b" if of_rows[0] == "a" else "a"
        filled = [[*row[:2], annotator, *row[3:-1], label] for row, label in zip(rows, of_rows, strict=True)]
        with (finished.root / "labels" / f"{annotator}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *filled])
    finished.edit_study("labels: []", "labels: [../../labels/anna.csv, ../../labels/ben.csv]")
    table = "results/nano-smoke/tables/win_rates.parquet"
    assert [job for job in finished.plan(table) if "people" in job] == ["judge_by_people people/tiny/s0/dpo"]
    finished.run(table)

    judged = read_sealed(finished.result("judgements/people/tiny/s0/dpo.parquet")).to_pandas()
    asked = judged[judged["text"] != judged["reference_text"]]
    assert len(asked) == 2 * len(rows)
    anna, ben = (asked[asked["answered_by"] == name]["verdict"].tolist() for name in ("anna", "ben"))
    assert sum(one != other for one, other in zip(anna, ben, strict=True)) == 1
    longer = asked["text"].str.len() > asked["reference_text"].str.len()
    assert ((asked["verdict"] == "win") == longer)[asked["answered_by"] == "anna"].all()
    rates = read_sealed(finished.root / table).to_pandas()
    assert set(rates["judge"]) == {"people", "truth"}
    assert finished.plan(table) == []
