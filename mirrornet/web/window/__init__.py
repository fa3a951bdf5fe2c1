"""The status page: a map of the world, tables, a box that says why, and what comes by itself.

    words.py       figures and times as the page writes them                           (pure)
    marks.py       a shape, a colour and a word for each state                         (pure)
    worldmap.py    the map: mirrors, names, the countries that each one serves         (pure)
    table.py       the table of mirrors                                                (pure)
    vantages.py    other eyes: who is heard, who is outvoted                           (pure)
    page.py        the page as HTML                                                    (pure)
    sparing.py     a page that is dear to draw is given out again                     (pure)
    views.py       its routes: page, files, /explain, /events
    style.css, window.js, icon.svg    as they are sent

Decisions
---------
- 2026-11-23: the page is made whole by the server, map and all, and works without JavaScript.  window.js fetches the
  same page again and takes the sections that changed: one place knows how a mirror is drawn.
- 2026-11-23: nothing is fetched from elsewhere and nothing is inline: style and script are files of this server's, so
  the Content-Security-Policy needs neither hashes nor `unsafe-inline`.  Colours inside the map are classes for the same
  reason.
- 2026-11-23: a country is tinted by the mirror that most of its addresses are sent to; each select of a zone has a map.
- 2026-11-23: shares of addresses are reckoned when somebody looks, once a plan, beside the answers and not before them.
- 2026-11-23: names on the map are set by the server, in two sizes; what would overlap is left to the table.
"""
