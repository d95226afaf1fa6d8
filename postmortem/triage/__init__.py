"""From a pile of crashes to the few bugs behind them (docs/triage.md).

Read in this order: :mod:`~postmortem.triage.model` (what is stored),
:mod:`~postmortem.triage.schema` (the tables), :mod:`~postmortem.triage.grouping` (which bucket
a case belongs to), :mod:`~postmortem.triage.store` (what can be asked), then
:mod:`~postmortem.triage.run` (how a pile is worked off). Only the store imports SQLAlchemy.
"""
