"""Real dumps of real kernels that really broke, and the tool that makes more.

See README.md in this folder. Nothing in :mod:`postmortem` imports this package.
"""
