"""Write the tables of probes."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.probe_tables")
        from modecollapse.jobs.probe_tables import tabulate_probes

        choices, next_tokens, responses = map(job.inputs, ("choices", "next_tokens", "responses"))
        tabulate_probes(job.spec, choices, next_tokens, responses, job.outputs())
