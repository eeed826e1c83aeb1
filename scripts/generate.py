"""Generate the stale cells of one model."""

from modecollapse.jobs.generations import generate
from modecollapse.jobs.running import running
from modecollapse.specs import generation_spec

if __name__ == "__main__":
    with running() as job:
        study, model = job.planned(generation_spec)
        generate(
            {cell: job.path(study.paths.cell(cell)) for cell in study.cells(model)},
            job.spec,
            study.prompts,
            job.path(job.snakemake.input.weights),
            job.path(job.snakemake.input.manifest),
            job.store,
            job.load,
        )
