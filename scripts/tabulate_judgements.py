"""Write the tables of judged comparisons."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.judgement_tables")
        from modecollapse.jobs.judgement_tables import tabulate_judgements

        tabulate_judgements(job.spec, job.inputs("judgements"), job.outputs())
