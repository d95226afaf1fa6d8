"""Writes the tables of the project that come from kernels: names and types are facts."""
