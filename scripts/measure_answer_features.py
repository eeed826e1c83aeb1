"""Compute the text features of what one model answers."""

from pathlib import Path

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running(polls=True) as job:
        job.load("modecollapse.jobs.text_features")
        from modecollapse.jobs.text_features import measure_answer_features

        measure_answer_features(
            job.spec,
            job.model(),
            job.inputs("answers"),
            job.inputs("cells"),
            Path(job.snakemake.output[0]),
            job.store,
            job,
            job.snakemake.threads,
        )
