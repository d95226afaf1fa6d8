"""Shows an analysis: text for people, JSON for machines, HTML for mail.

Renderers get data and know neither a kernel nor drgn.
"""
