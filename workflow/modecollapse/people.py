"""Labels by people are not made by any job: they are there, or a run that needs them ends before its first job."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modecollapse.cells import ModelData
from modecollapse.errors import StudyError
from modecollapse.methods.reward_functions import PEOPLE

if TYPE_CHECKING:
    from modecollapse.study import Study


def require_labels_or_exit(study: "Study", jobs: Iterable[Any]) -> None:
    """End with status 1 if one of these jobs of Snakemake's needs labels of people that are not there, or are wrong.

    What a label of a data set's pairs is of is known, and checked, where its sheet is already there and is not made
    anew. Of labels that judge answers it is known to the job alone.
    """
    from modecollapse.judging.comparisons import Comparisons
    from modecollapse.labelling.label_files import read_label_files

    jobs = list(jobs)
    anew = {str(path) for job in jobs for path in job.output}
    try:
        for job in jobs:
            if job.rule.name == "label_pairs":
                data = ModelData(job.wildcards.size, int(job.wildcards.seed), job.wildcards.data)
                if study.sampling(data).reward == PEOPLE:
                    require_labels(study, data, study.paths.candidates(data) not in anew)
        for judge in sorted({job.wildcards.judge for job in jobs if job.rule.name == "judge_by_people"}):
            read_label_files(Comparisons(study).label_files(judge))
    except StudyError as error:
        print(f"\n{error}\n\nNothing was started and nothing was changed.", file=sys.stderr)
        sys.exit(1)


def require_labels(study: "Study", data: ModelData, with_candidates: bool) -> None:
    """The files of people's labels of a data set are there and can be understood.

    Args:
        with_candidates: whether the labels are also those of the candidates that are there now.

    Raises:
        StudyError: they are not; the message says what to do.
    """
    from modecollapse.labelling.label_files import check_labels, read_label_files

    sampled, files = study.sampling(data), study.label_files(data)
    missing = [path for path in files if not path.is_file()]
    if missing or not files:
        what = f"there is no file {missing[0]}" if missing else "no file of people's labels is named"
        sheet = study.paths.labelling_sheet(data, "html")
        raise StudyError(
            f"{study.file}: data.{data.data}.sampled.labels: {what}, but pairs of {data} are to be trained on as "
            f"people label them. Make the sheet with `snakemake labelling_sheets --config study={study.called()}`, "
            f"have {sampled.overlap} or more people label it ({sheet} in a browser, or the CSV beside it), and name "
            "the files that they save, relative to the study file, e.g. `labels: [anna.csv, ben.csv]`."
        )
    rows = read_label_files(files)
    candidates = Path(study.paths.candidates(data))
    if with_candidates and candidates.is_file():
        from modecollapse.labelling.candidates import sheet_of
        from modecollapse.sealed import read_sealed

        table = read_sealed(candidates)
        check_labels(rows, sheet_of(table), table["pair"].to_pylist(), sampled.overlap)
