"""Read the personas out of one model's outputs, and cluster the sentences of their reviews."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running(polls=True) as job:
        job.load("modecollapse.jobs.personas")
        from modecollapse.jobs.personas import measure_personas

        measure_personas(job.spec, job.model(), job.inputs("sampled")[0], job.outputs(), job.store, job)
