"""Write a labelling sheet."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.do_without("pandas")
        job.load("modecollapse.jobs.labelling")
        from modecollapse.jobs.labelling import write_sheet

        write_sheet(job.spec, job.inputs("candidates")[0], job.outputs())
