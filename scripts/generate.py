"""Generate the stale cells of one model."""

from pathlib import Path

from modecollapse.jobs.generations import generate
from modecollapse.jobs.running import NO_MODEL_NEEDS, running
from modecollapse.resources.machine import read_machine
from modecollapse.specs import generation_spec

if __name__ == "__main__":
    with running(polls=True) as job:
        job.do_without("pandas", *NO_MODEL_NEEDS)
        study, model = job.planned(generation_spec)
        generate(
            {cell: Path(study.paths.cell(cell)) for cell in study.cells(model)},
            job.spec,
            study.prompts,
            Path(job.snakemake.input.weights),
            Path(job.snakemake.input.manifest),
            job.store,
            job.load,
            read_machine(job.snakemake.config),
            Path(job.snakemake.scriptdir).parent,
        )
