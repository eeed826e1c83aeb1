"""Write the tests of each step of the lineage, and its attribution at matched entropy."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.tables")
        from modecollapse.jobs.tables import compare_steps

        compare_steps(job.spec, job.inputs("scores"), job.outputs())
