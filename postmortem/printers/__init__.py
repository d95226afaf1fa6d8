"""The kernel's own formats: from facts to the lines that people and programs know."""
