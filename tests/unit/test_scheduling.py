"""Snakemake's own scheduling."""

from types import SimpleNamespace

from snakemake.cli import get_argument_parser
from snakemake.scheduling.job_scheduler import JobRateLimiter
from snakemake.settings.types import MaxJobsPerTimespan

from modecollapse.resources.scheduling import stop_looking_again


def test_the_default_limit_of_jobs_is_taken_off() -> None:
    default = get_argument_parser().get_default("max_jobs_per_timespan")
    scheduler = SimpleNamespace(job_rate_limiter=JobRateLimiter(MaxJobsPerTimespan.parse_choice(default)))
    stop_looking_again(scheduler)
    assert scheduler.job_rate_limiter is None


def test_a_stated_limit_stays() -> None:
    limiter = JobRateLimiter(MaxJobsPerTimespan.parse_choice("1/10s"))
    scheduler = SimpleNamespace(job_rate_limiter=limiter)
    stop_looking_again(scheduler)
    assert scheduler.job_rate_limiter is limiter
