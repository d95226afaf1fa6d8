"""relay channels: what blktrace, SystemTap and others wrote, read or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from postmortem.model.findings import Cell, Column, Export, Table, Text, Unit
from postmortem.plugin import DumpContext, option, plugin

if TYPE_CHECKING:
    from postmortem.kernel.relay import Channel, Resync


@plugin(
    "relay",
    needs=("type:struct rchan",),
    in_analysis=False,
    options=(
        option("--unread", type=bool, help="Leave out what had been read already."),
        option("--torn", type=bool, help="Take the torn end of the oldest sub-buffer as well."),
    ),
)
def relay(
    ctx: DumpContext, *, unread: bool = False, torn: bool = False
) -> Iterator[Table | Text | Export]:
    """List the relay channels, which blktrace and SystemTap write into.

    With -o FILE.tar a file for each channel and CPU, the oldest bytes first; those of blktrace
    are called NAME.blktrace.CPU, as blkparse -i NAME wants them.
    """
    from postmortem.kernel.relay import relay_channels

    found = ctx.attempt("relay channels", lambda: relay_channels(ctx.prog))
    if found is None:
        return
    if not found:
        yield Text("relay", ("no relay channel was open when the machine died",))
        return
    for channel in found:
        ctx.note(channel.problems)
    yield _table(found)
    yield Export("Relay channels", "tar", _archive(ctx, found, unread=unread, torn=torn))


def _table(found: tuple[Channel, ...]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            channel.name, channel.folder, channel.owner, buffer.cpu, channel.subbuf_bytes,
            channel.n_subbufs, buffer.produced, buffer.consumed, buffer.length, buffer.unread,
            "yes" if buffer.full else "no", channel.dropped,
        )
        for channel in found
        for buffer in channel.buffers
    ]  # fmt: skip
    columns = (
        Column("channel"), Column("in"), Column("owner", extra=2), Column("CPU", Unit.ID),
        Column("sub-buffer", Unit.BYTES), Column("of", Unit.COUNT),
        Column("filled", Unit.COUNT), Column("read", Unit.COUNT), Column("there", Unit.BYTES),
        Column("unread", Unit.BYTES), Column("full"), Column("dropped", Unit.COUNT, extra=1),
    )  # fmt: skip
    return Table("Relay channels", columns, tuple(rows), "dropped: events of the whole channel")


def _archive(ctx: DumpContext, found: tuple[Channel, ...], *, unread: bool, torn: bool) -> bytes:
    """A file for each buffer, in a tar: names and sizes are all that it says of them."""
    import io
    import tarfile  # here: every run imports every plugin

    from postmortem.kernel.relay import contents, first_blktrace, first_line

    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for channel in found:
            resync: Resync = first_blktrace if channel.is_blktrace else first_line
            for buffer in channel.buffers:
                data, problems = contents(ctx.prog, buffer, resync if torn else None, unread=unread)
                ctx.note(problems)
                one = tarfile.TarInfo(channel.file_name(buffer.cpu))
                one.size = len(data)
                archive.addfile(one, io.BytesIO(data))
    return written.getvalue()
