"""The client: a read becomes verified bytes, from whichever mirror is best at that moment.

    mirrors/        who there is, what was seen of each, whom to ask next                        (pure)
    finding/        from a select name to mirrors                                                (the door to dnspython)
    fetching/       a block from mirrors, verified: requests, races, stretches, rounds
    cache/          blocks on disk, shared by all
    reading/        read(offset, size): memory, disk, mirrors; and what will be read next
    fuse/           the image in the kernel's tree                                               (the door to pyfuse3)
    nbd/            the image as an NBD export
    repository.py   which image version, and why it may be believed
    foresight.py    its metadata, asked for before python-tuf asks
    guest.py        a virtual machine as QEMU's command line; when it is stuck; its overlay      (pure)

A read goes  fuse | nbd → reading → (memory | cache | fetching → mirrors)  and nothing else in the program may hand
bytes of an image to anybody.  Failure is per block, not per mount: one slow or lying mirror costs one block a hedge.
What each file promises is at its top; why it is so, in its room's essay.

Decisions
---------
- 2026-11-23: metadata is asked for ahead of python-tuf by what unverified files name: 4 round trips instead of 7, and a
  far mirror that claims nothing newer is not waited for.  What is verified, and by whom, is as it was.
- 2026-11-23: python-tuf, pyfuse3 and dnspython are imported by a thread while the first answers travel, or not at all.
  Imports are 0.43 s of CPU, of which 0.17 then cost a mount nothing.
"""
