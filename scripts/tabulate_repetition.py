"""Write the table of repetition before and after each stage."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.tables")
        from modecollapse.jobs.tables import tabulate_repetition

        tabulate_repetition(job.spec, job.inputs("counts"), job.outputs())
