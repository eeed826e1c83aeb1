"""Compare our values with the stored results of others."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("pandas", "modecollapse.jobs.comparison")
        from modecollapse.jobs.comparison import compare

        compare(job.spec, job.inputs("scores"), job.inputs("results"), job.inputs("cells"), job.outputs())
