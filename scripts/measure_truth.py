"""Write the true values of the nano world."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.tables")
        from modecollapse.jobs.tables import measure_truth

        measure_truth(job.spec, job.inputs("tokens"), job.outputs())
