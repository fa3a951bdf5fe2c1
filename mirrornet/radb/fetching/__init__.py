"""How bytes come from elsewhere: by HTTP, by FTP, packed; and whether they are worth fetching again.

    limits.py     what everything is bounded by; the version of a file; what can go wrong on the way
    resume.py     a body that breaks off is gone on with, or read again up to there
    http.py       http and https
    ftp.py        ftp
    unpack.py     gzip and bzip2, told by their first bytes
    freshness.py  whether nothing is new since the last import

fetch.py, one floor up, puts them together.

Decisions
---------
- 2026-11-23: a body that broke off is resumed by Range with If-Range (RFC 9110 sections 13.1.5 and 14.2), and where a
  server ignores that and begins again, what was read before is skipped and held to its CRC-32: with a table half made,
  to notice that the file is another one now matters more than to trust a header.  Then the whole import begins again,
  once.
- 2026-11-23: three attempts without a new byte, or twenty in all, are enough.  A time limit for the whole holds anyhow.
- 2026-11-23: what was fetched is remembered in the table itself (section "inputs"), not beside it: whoever rolls back,
  copies or deletes a table has the memory that belongs to it.  Tables of files alone have no such section, so that the
  same files make the same bytes.
- 2026-11-23: freshness is asked by HEAD (conditional, RFC 9110 section 13) or MDTM and SIZE (RFC 3659); only when all
  inputs are as they were is nothing done, since a table is made of all of them.
- 2026-11-23: ftplib and not urllib: it can resume (REST) and ask for size and time, which urllib hides.
"""
