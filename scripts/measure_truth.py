"""Write the true values of the nano world."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.truth")
        from modecollapse.jobs.truth import measure_truth

        measure_truth(job.spec, job.inputs("tokens"), job.outputs())
