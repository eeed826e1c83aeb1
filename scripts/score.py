"""Score the cells of one model."""

from pathlib import Path

from modecollapse.jobs.running import running
from modecollapse.jobs.scores import score_model

if __name__ == "__main__":
    with running() as job:
        job.do_without("pandas")
        job.load("modecollapse.measures.diversity")
        files = (job.inputs("cells"), job.inputs("embeddings"), Path(job.snakemake.output[0]))
        score_model(job.spec, job.model(), *files, job.store)
