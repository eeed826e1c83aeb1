"""Write the table and the page of data cards."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.data_cards")
        from modecollapse.jobs.data_cards import tabulate_data_cards

        tabulate_data_cards(job.spec, job.inputs("data"), job.inputs("references"), job.inputs("labels"), job.outputs())
