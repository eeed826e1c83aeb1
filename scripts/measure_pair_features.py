"""Compute the text features of chosen and rejected answers."""

from pathlib import Path

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running(polls=True) as job:
        job.load("modecollapse.jobs.text_features")
        from modecollapse.jobs.text_features import measure_pair_features

        measure_pair_features(
            job.spec,
            job.snakemake.wildcards.data,
            Path(job.snakemake.input[0]),
            Path(job.snakemake.output[0]),
            job.store,
            job,
            job.snakemake.threads,
        )
