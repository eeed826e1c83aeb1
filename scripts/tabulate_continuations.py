"""Write the tables and the page of coloured continuations."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.continuations")
        from modecollapse.jobs.continuations import tabulate_continuations

        modes, continuations, confidence = map(job.inputs, ("modes", "continuations", "confidence"))
        tabulate_continuations(job.spec, modes, continuations, confidence, job.outputs())
