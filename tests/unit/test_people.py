"""Labels by people are looked at before the first job."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from modecollapse.people import require_labels_or_exit
from modecollapse.study import Study
from modecollapse.yaml_files import read_yaml
from tests.studies import SMOKE, parse

JOBS = [
    SimpleNamespace(rule=SimpleNamespace(name="judge_by_people"), wildcards=SimpleNamespace(judge="ann"), output=[])
]


def judged(file: Path) -> Study:
    content = read_yaml(SMOKE)
    content["measures"]["judgements"] = {"reference": "sft", "judges": {"ann": {"labels": [str(file)]}}}
    return parse(content)


def test_judges_labels_that_cannot_be_understood_end_a_run_that_needs_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ann.csv"
    file.write_text("sheet,pair,annotator,label\ns0,p0,Ann,left\n")
    require_labels_or_exit(judged(file), [])
    with pytest.raises(SystemExit):
        require_labels_or_exit(judged(file), JOBS)
    said = capsys.readouterr().err
    assert "ann.csv, line 2: found the label 'left'. Allowed: a, b, tie, skip" in said
    assert "Nothing was started and nothing was changed." in said
    file.write_text("sheet,pair,annotator,label\ns0,p0,Ann,a\n")
    require_labels_or_exit(judged(file), JOBS)
