"""Which step of a language model's fine-tuning costs how much diversity?"""

__version__ = "0.1.0"
