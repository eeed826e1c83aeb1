"""Write how much of what seems the effect of a stage is that of the words around the prompt."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.tables")
        from modecollapse.jobs.tables import split_format_effects

        split_format_effects(job.spec, job.inputs("scores"), job.outputs())
