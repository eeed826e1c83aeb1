"""Embed every distinct text of one size and seed."""

from pathlib import Path

from modecollapse.jobs.embeddings import embed_cells
from modecollapse.jobs.running import NO_MODEL_NEEDS, running

if __name__ == "__main__":
    with running(polls=True) as job:
        job.do_without("pandas", *NO_MODEL_NEEDS)
        embed_cells(job.spec, job.inputs("cells"), Path(job.snakemake.output[0]), job.store, job)
