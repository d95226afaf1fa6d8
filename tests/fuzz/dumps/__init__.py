"""Seeded damage to a private copy of a dump, and what an analysis makes of it."""
