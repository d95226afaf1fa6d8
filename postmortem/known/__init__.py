"""Known issues: rules that somebody wrote down, held against a verdict (docs/known.md)."""
