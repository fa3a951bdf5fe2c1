"""The image: its format and its trust.  FORMAT.md beside this file is normative.

    format/       one block, and the index that lists them: bytes and what they mean     (pure)
    trust/        signed metadata: the publisher's half (keys, shelf), the client's half (attempt, roots), what proves
                  it (verify, versions: pure)
    publishing/   an image cut into blocks on all cores, and made a version
    contents/     what packages an image holds, and which of them are known to be vulnerable
    copying/      verified copies of a repository: made, proven, rid of what nobody needs
    inventory.py  every file that a version needs: what a copy copies, an audit asks for, a collection keeps
    fetch.py      where bytes come from: a Fetch, a folder, a bridge to an event loop
    files.py      files that are whole or absent; folders that one process changes at a time
    small.py      files that somebody else may have put there: opened without waiting, read up to a limit

Decisions
---------
- 2026-11-23: summed stored lengths stand in the head beside each page's hash, not in the page.  One changed block would
  otherwise change every later page, and an update would send the whole index.
- 2026-11-23: an image has a key of its own (KEYS/images/NAME.pem), made at its first publish: targets.pem goes offline
  with root.pem, and a stolen image key lies about one image.
- 2026-11-23: TUF roles of images are called "image-NAME": an image may be called root or snapshot.
- 2026-11-23: zlib's levels 4 to 8 are libdeflate's, and 5 is the default: 1 % smaller than zlib 6 and 3.8 times
  as fast.  1 to 3 are ISA-L's: three times as fast again, but 10 % larger, and bytes are paid for by every client.  9
  is zlib's.
- 2026-11-23: zstd's default level is 3: 6 is 2.4 % smaller and takes 2.4 times as long, 9 is 5.7 % and 4.5 times.
- 2026-11-23: a block that stands where it stood is kept as it was stored, found by inflating and comparing.  An encoder
  that changes with its version would otherwise send whole images again; it also spares most of an update's work.
- 2026-11-23: blocks reach the disk by one syncfs for 64 MB of them, before they get their names: an fsync each is a
  tenth of a publish here and most of it on a spinning disk.
- 2026-11-23: codec, level, block size and packs are those of the version before, unless said otherwise.  With defaults
  of their own, whoever once forgot `--codec zstd` sent every client the whole image again.
- 2026-11-23: packs hold 16 MiB, and one of which less than half is in use is not used again.  Packs of the version
  before keep their places in the table, so pages stay equal; one that nothing names any more may stay a version longer.
- 2026-11-23: a publish that is killed leaves a note of what it stored (`.unfinished-NAME`).  The next one trusts
  nothing of it: it looks there for stored blocks that inflate to what it reads.  Of packs it notes the closed ones,
  and writes them again from the blocks it finds: the same files, unless the image was changed.
- 2026-11-23: an image of zlib holds zlib streams only, incompressible blocks included, so that its .cloop view needs no
  second copy.
- 2026-11-23: the clock of python-tuf's Updater is set by one assignment to its internal reference time.  Its public
  interface has none.  Nothing rests on it: `trust.attempt` judges the whole set's expiry again by its argument `now`.
- 2026-11-23: the time stored in a trust folder is that of the last committed refresh.  A set is committed only while it
  is valid, so a clock that was once years ahead cannot lock the folder up for longer than a set lives.
- 2026-11-23: sub-rooms, drawn before the room got crowded: format knows nobody, trust knows format, publishing both.
- 2026-11-23: a key counts by what the signed metadata says of its public half, never by its file's name.  So a
  rotation makes keys first, then changes the repository, then tidies files; killed anywhere, both keys are there.
- 2026-11-23: what a rotation changes is signed by the old keys as well, and the new root is written last.  The
  timestamp is the one file without a version, so with the root first there is a moment in which clients find neither
  set whole.
- 2026-11-23: of several verified sets the greatest root is the newest, whatever the timestamps say.  By timestamp
  alone the thief of an online key won for ever, at every client that asks his mirror beside a good one.
- 2026-11-23: a rotation replaces all keys of a role.  Keeping some would need a way to name keys on the command line,
  and who replaces one of three root keys has the threshold of them at hand anyway.
- 2026-11-23: `gc` reads from the old files of roles since when a version is not needed, and refuses a grace shorter
  than a snapshot lives.  A list of its own (as `sync` keeps) would begin to count only when gc first runs.
- 2026-11-23: the newest version is not retired while older ones stay: clients would go back without being told.
- 2026-11-23: kernel, initrd and command line are not taken over from the version before: a kernel whose modules went is
  found out by clients only.  `refresh` takes kernel and initrd out of the image again where the signed metadata says
  they came from there (`custom.mirrornet.inside`).
- 2026-11-23: a killed change may leave 7.snapshot.json behind, and mirrors may have copied it; the next one takes
  number 8.
"""
