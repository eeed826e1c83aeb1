"""Write the tables of text features."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.feature_tables")
        from modecollapse.jobs.feature_tables import tabulate_text_features

        tabulate_text_features(job.spec, job.inputs("pairs"), job.inputs("answers"), job.outputs())
