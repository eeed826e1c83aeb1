"""Sampling with a vLLM server that the job starts in an environment of its own and speaks to over HTTP on loopback."""
