"""The window: what the server knows, for people and for machines.  It looks in; nothing can be changed through it
without a token.  Beside it a letter box: what clients measured.

    status.py      a Snapshot of the server, and the document of /status.json     (pure)
    window/        the same as a page, with a map; its essay tells more
    queries.py     queries as the page shows them                                 (pure)
    eyes.py        who else is heard, and who is not believed                     (pure)
    metrics.py     the same in Prometheus' words; dns_figures.py, mirror_figures.py: parts of it   (pure)
    server.py      the HTTP server
    handler.py     how a connection speaks HTTP: small heads, errors that tell a stranger nothing
    listener.py    who may connect: rate, number, deadlines
    rate.py        token buckets                                                  (pure)
    overriding.py  POST /v1/override, with a token
    reports.py     POST /v1/rtt, on a listener of its own

Decisions
---------
- 2026-11-23: everything shown is made from one Snapshot, asked for anew with every request.  So /metrics and
  /status.json can never disagree, and no thread or task keeps a copy up to date.
- 2026-11-23: /healthz says whether this server answers DNS, not whether mirrors are up.  With all of them down it still
  answers (fail open), and a supervisor that restarted it for that would make things worse.
- 2026-11-23: clients' reports come in by a listener of their own, which may be flooded; everything below is about the
  window.
- 2026-11-23: overrides come in by the window's own socket, unlike clients' reports: both are for friends, and the
  limits of the one suit the other.  Without a token file the path answers 403 and says what to do.
- 2026-11-23: else GET and HEAD only, no cookies, nothing inline, nothing from elsewhere: the Content-Security-Policy is
  `default-src 'none'` and, from this server alone, a style sheet, a script, an icon and what the script asks for.
- 2026-11-23: the answers with rcode NOERROR are added up from their classes, because the answering path does not count
  them by rcode.
- 2026-11-23: who may connect, how fast and for how long is decided before HTTP is spoken (listener.py), and each
  address has a rate of its own: a flood must cost the loop that probes mirrors nothing, and not lock the operator out.
"""
