"""Commands of our own: what crash(8) has and drgn has not, and the diagnosis."""
