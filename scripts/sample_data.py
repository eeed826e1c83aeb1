"""Sample one data set of the world."""

from pathlib import Path

from modecollapse.jobs.running import running
from modecollapse.jobs.world import sample_data

if __name__ == "__main__":
    with running() as job:
        job.do_without("pandas")
        job.load("modecollapse.data.nano.world")
        sample_data(job.spec, Path(job.snakemake.output[0]))
