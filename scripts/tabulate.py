"""Write the tables of output-level diversity."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.tables")
        from modecollapse.jobs.tables import tabulate

        tabulate(job.spec, job.inputs("scores"), job.inputs("cells"), job.inputs("curves"), job.outputs())
