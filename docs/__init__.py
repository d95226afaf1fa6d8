"""The guides: installed as postmortem_docs, which `postmortem guide` prints."""
