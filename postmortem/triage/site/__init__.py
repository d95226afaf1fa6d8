"""The pages of a pile: what stands on each (views), and how they lead to each other."""
