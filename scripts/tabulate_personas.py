"""Write the tables of personas."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.tables")
        from modecollapse.jobs.tables import tabulate_personas

        read, answers, sentences, clusters = map(job.inputs, ("read", "answers", "sentences", "clusters"))
        tabulate_personas(job.spec, read, answers, sentences, clusters, job.outputs())
