"""Write the sheet on which people compare the answers of one model with those of the reference."""

from modecollapse.jobs.judging import write_sheet
from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        write_sheet(job.spec, job.inputs("cells"), job.inputs("reference_cells"), job.outputs())
