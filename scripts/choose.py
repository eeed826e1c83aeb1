"""Choose the stale cells of one stage among answers of its parent."""

from pathlib import Path

from modecollapse.jobs.answer_sources import AnswerSources
from modecollapse.jobs.choosing import choose
from modecollapse.jobs.running import NO_MODEL_NEEDS, running
from modecollapse.resources.machine import read_machine
from modecollapse.specs import choice_spec

if __name__ == "__main__":
    with running(polls=True) as job:
        job.do_without("pandas", *NO_MODEL_NEEDS)
        study, model = job.planned(choice_spec)
        reward = study.stage(model).reward
        assert reward is not None
        choose(
            {cell: Path(study.paths.cell(cell)) for cell in study.cells(model)},
            job.spec,
            study.prompts,
            AnswerSources(reward=reward, **{name: Path(path) for name, path in job.snakemake.input.items()}),
            job.store,
            job.load,
            read_machine(job.snakemake.config),
            Path(job.snakemake.scriptdir).parent,
        )
