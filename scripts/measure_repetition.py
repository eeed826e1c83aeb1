"""Count the repetitive completions of one model."""

from pathlib import Path

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.repetition")
        from modecollapse.jobs.repetition import measure_repetition

        measure_repetition(job.spec, job.model(), job.inputs("cells"), Path(job.snakemake.output[0]), job.store)
