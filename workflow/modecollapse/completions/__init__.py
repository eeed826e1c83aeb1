"""Completions that others have generated: what replaces a model where there is none."""

from modecollapse.completions.layouts import Layout, check_completions, read_completions

__all__ = ["Layout", "check_completions", "read_completions"]
