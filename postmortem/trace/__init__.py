"""ftrace read after death: what the machine did last, from the ring buffers in its memory.

``buffers`` finds the buffers of the dump, ``pages`` takes a page of one apart, ``formats`` says
what the kernel knows of each event, ``print_fmt`` turns an event's print format into a function,
``printers`` knows the events that the kernel prints by code of its own, ``events`` merges the
CPUs, and ``text``, ``trace_dat`` and ``exports`` write it.
"""
