"""Where a store lies, as far as whoever starts a run should know it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workflows.settings.fleets import Where

MOUNTS = Path("/proc/self/mounts")
"""Linux's list of what is mounted where; elsewhere there is none, and nothing is told."""
NETWORK = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"),
        *("gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"),
    )
)
"""Kinds of file systems that several machines share."""


def store_notes(store: str, where: Where) -> tuple[str, ...]:
    """Return what is to be said of a run's store before it starts."""
    from orchestrator.store.address import parse_address

    address = parse_address(store)
    if address.path is None:
        return ()
    notes = []
    kind = network_file_system(address.path.absolute())
    if kind is not None:
        notes.append(
            f"the store {address.shown} lies on a network file system ({kind}), where SQLite may "
            "lose what it wrote; name a file on a disk of this machine, or postgresql://..."
        )
    elif where.on_ray or where.drivers > 1:
        notes.append(
            f"the store {address.shown} is a SQLite file on this machine's own disk; drivers on "
            "several machines need --store postgresql://..."
        )
    return tuple(notes)


def network_file_system(path: Path, mounts: Path = MOUNTS) -> str | None:
    """Return the kind of the network file system that `path` lies on, or None.

    Args:
        path: absolute; it need not exist.
        mounts: a list of mounts: device, mount point, kind..., with blanks in octal.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    best: tuple[int, str] = (-1, "")
    for line in lines:
        fields = line.split()
        if len(fields) < 3:
            continue
        point = Path(fields[1].replace("\\040", " ").replace("\\011", "\t"))
        if path.is_relative_to(point) and len(point.parts) >= best[0]:
            best = (len(point.parts), fields[2])  # of two on one place the later one is seen
    return best[1] if best[1] in NETWORK else None
