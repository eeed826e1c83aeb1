"""Have the scorer of a perplexity filter answer prompts, and score what it answers."""

from pathlib import Path

from modecollapse.jobs.own_answers import sample_own_answers
from modecollapse.jobs.running import NO_MODEL_NEEDS, running

if __name__ == "__main__":
    with running(polls=True) as job:
        job.do_without(*NO_MODEL_NEEDS)
        read = job.snakemake.input
        sample_own_answers(
            job.spec,
            "/".join(job.snakemake.wildcards),
            (Path(read.manifest), Path(read.weights)),
            job.inputs("prompts"),
            Path(job.snakemake.output[0]),
            job.store,
            job.load,
        )
