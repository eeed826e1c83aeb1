"""Have a model answer the prompts of preference pairs, for its text features."""

from pathlib import Path

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running(polls=True) as job:
        job.load("modecollapse.jobs.feature_answers")
        from modecollapse.jobs.feature_answers import answer_pairs

        read = job.snakemake.input
        answer_pairs(
            job.spec,
            job.model(),
            (Path(read.manifest), Path(read.weights)),
            job.inputs("pairs"),
            Path(job.snakemake.output[0]),
            job.store,
            job,
        )
