"""Find the semantic modes of one model's completions."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running(polls=True) as job:
        job.load("modecollapse.jobs.semantic")
        from modecollapse.jobs.semantic import measure_semantic

        measure_semantic(job.spec, job.model(), job.inputs("cells"), job.outputs(), job.store, job)
