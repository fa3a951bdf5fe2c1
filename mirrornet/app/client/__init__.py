"""A client's processes: a session, and the doors by which bytes leave it.

The session finds mirrors, proves a version and makes its reader; a door (the kernel's tree, NBD, a guest, the cache)
adds how bytes leave and nothing else.

    session.py      the client without a door: from SOURCE and NAME to a reader of verified bytes
    mount.py        `mirrornet mount`: a session, in the kernel's tree
    mounts.py       `umount` and `status`: what they ask of the mounts of this machine
    nbd.py          `mirrornet nbd`: a session, as an NBD export
    boot.py         `mirrornet boot`: an image in a virtual machine
    bootdisk.py     the image as a guest's disk: the process that serves it, started again where it dies
    bootclient.py   what that process does
    bootfiles.py    the kernel that a guest is started with, kept here
    qemu.py         one QEMU process: started, watched, ended
    overlay.py      `mirrornet mount --overlay`: the files of the image, writable
    pull.py         `mirrornet pull`: an image into the cache before it is read
    pinning.py      `mirrornet pin`: what a person wants to stay in the cache
    profiles.py     the boot's profile of a session: found, replayed, and what this boot adds
    recorded.py     what was recorded of boots here, for `profile`
    following.py    a running mount learns of newer versions, and tells
    holding.py      the cache of a verb, and how much of an image is in it
    telling.py      what `status` tells a person
    heap.py         one heap for all threads of a client

Decisions
---------
- 2026-11-23: `boot` is three processes: the one that was called, QEMU and the one that reads the image.  The first
  waits without threads and without an event loop, because it forks; the other two end with it, also by kill -9.
- 2026-11-23: a guest under KVM is judged by silence only until it is up (a kilobyte on its console, 64 KiB read); from
  then on idle and stuck look the same.  One byte or one block is no sign that KVM works: where it does not, firmware
  still read a sector.  An emulated guest is never judged.
- 2026-11-23: SIGTERM presses the guest's power button, once; what it has not written when a second signal or 60 s end
  it is lost, as by a power cut.
- 2026-11-23: an overlay is never rebased to another version, by hand either: the blocks under its file system would
  change.  A newer version starts fresh and says where the older writes are.
- 2026-11-23: a guest's read waits for as long as no mirror answers (`boot --read-deadline never`): to a file system an
  error of its disk is worse than a pause, and a guest can be switched off whatever it waits for.
- 2026-11-23: a guest's disk is an NBD export, not a mount.  A boot takes as long (medians of three, emulated, on a
  machine at work: 29 s from a local file, 33 by FUSE, 21 by NBD) and less of our time (0.41 against 0.56 s of CPU); it
  needs neither root nor FUSE; and a client that died is followed by another, which no mount allows.
- 2026-11-23: the mounts of `--overlay` are made by the command, not by the image's process, which would wait for
  itself; so `--foreground` does not go with it.
- 2026-11-23: an NBD export needs nothing from FUSE, and the modules that export do not import it: `pip install
  mirrornet[nbd]` compiles nothing.
"""
