"""The image in the kernel's tree: its two files, the mount point, a writable file system over it.

    mount.py        the image as files of the kernel's (the door to pyfuse3)
    mountpoint.py   mount points: free, stale, held by whom, tuned
    kernel.py       pyfuse3's wait for the kernel's next request
    cloop.py        the image as the .cloop it also is, computed from the index
    overlaid.py     a file system of the image, writable: what lies over a mount

Decisions
---------
- 2026-11-23: unmounting is the system's umount2(2) (fusermount3 for who is not root), tried plainly first: the kernel
  alone knows whether a mount is busy (working directories, loop devices and mappings count, too), so we ask it instead
  of counting handles.  Reads that go on though nobody holds it are those of killed readers, and end with it.
- 2026-11-23: the kernel's limits are set after the first request.  Its answer sets them, so what is written before that
  is lost; and before the first program opens the image, since a file keeps the readahead it was opened with.
- 2026-11-23: where a profile is replayed at once the kernel reads ahead 32 KiB instead of 1 MiB until the boot is over.
  Its guess makes the guest wait for blocks that it does not need (50 of 110 requests, 6 of 24.5 MB).
- 2026-11-23: the .cloop view passes stored blocks on and inflates nothing.  It is not recorded as a boot's, nor read
  ahead of: whoever reads a .cloop copies it.
- 2026-11-23: two functions of pyfuse3's asyncio module are replaced (kernel.py), not its loop: it takes them from there
  at each call, and a pyfuse3 that does not any more only costs what it cost before.
"""
