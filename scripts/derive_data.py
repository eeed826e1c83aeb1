"""Make a data set from others."""

from pathlib import Path

from modecollapse.jobs.derived_data import derive_data
from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        derive_data(
            job.spec,
            job.snakemake.wildcards.data,
            job.inputs("data"),
            Path(job.snakemake.output[0]),
            job.inputs("references"),
            next(iter(job.inputs("own")), None),
        )
