"""A lease for the time of a block, where steps keep theirs until they end."""

from contextlib import contextmanager

from sgdphases.leases import acquire, lease_folder


@contextmanager
def lease(devices, memory, *, folder, timeout=None, asked_by=""):
    """Hold one of several devices, or a part of its memory, for a while; gives its name. See `acquire`."""
    device, claim = acquire(devices, memory, folder=lease_folder(folder), timeout=timeout, asked_by=asked_by)
    try:
        yield device.name
    finally:
        claim.release()
