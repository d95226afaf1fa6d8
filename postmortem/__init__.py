"""Says what killed a Linux machine, from its vmcore, /proc/kcore or log alone."""

__version__ = "0.1.0"
