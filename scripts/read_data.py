"""Read one data set from the hub's cache or from local files."""

from pathlib import Path

from modecollapse.jobs.data import files_of, read_data
from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        study, name = job.planned_data()
        read_data(
            job.spec,
            files_of(study, name),
            study.config.data[name].broken_rows,
            f"{study.file}: data.{name}",
            Path(job.snakemake.output[0]),
        )
