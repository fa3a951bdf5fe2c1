"""What is in an image: its packages, read without mounting it, and which of them are known to be vulnerable.

    partitions.py     where file systems lie in an image                                  (pure)
    extfs.py          one file out of an ext2, 3 or 4 (debugfs)
    inside.py         a kernel or initrd out of the image's own root
    packages.py       the lists of dpkg, apk and rpm, and what system it is               (pure)
    cyclonedx.py      packages → a CycloneDX document and back                            (pure)
    sbom.py           an image → its document, at publish time
    ordering.py       which of two versions is newer, by the rules of each distribution   (pure)
    osv.py            records of known vulnerabilities, and whom they concern             (pure)
    advisories.py     files of such records
    lists.py          the signed lists in a repository
    changes.py        what came, went and changed between two lists                      (pure)
    exposure.py       the versions of an image: who has what, and which one replaced it   (pure)
    chroot.py         an image's own upgrade, run in it, in namespaces of its own

The list is signed with the version it describes, as the target `sbom`.  So the question that a publisher is asked after
a bad day, "since when do your clients not run that any more", is answered by what was signed at the time, for every
version that is retained, and not by memory.

Decisions
---------
- 2026-11-23: debugfs reads the file system, not a mount: no root, no kernel that parses a stranger's superblock, and a
  device that is in use is not touched.  Hence ext2, 3 and 4 only; what lies in LVM, LUKS, XFS or btrfs has no list.
- 2026-11-23: of several file systems the root is the one with a package manager's list, of several such the largest:
  one rule for the list, for `refresh` and for `publish --boot image:…`, so that they cannot speak of different ones.
- 2026-11-23: the document has no serial number and no random part: one image, one list, one hash.  Two publishers can
  compare theirs.
- 2026-11-23: versions are compared by univers, which knows the rules of all three package managers; the tests hold it
  against dpkg itself.  Ours would have been a third of its length for one of them.
- 2026-11-23: OSV names source packages, so each binary package carries its source's name and version (qualifier
  `upstream` of the purl, as other makers of such lists write it).
"""
