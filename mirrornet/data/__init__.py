"""Shipped tables, each made by a script in scripts/ from a source that it names.  Values only; the lowest floor.

countries.py   continent, middle and radius of each country (scripts/make_countries.py; GeoNames, CC BY 4.0)
detours.py     regions of the Earth, and how much longer than the great circle the way between them is
               (scripts/make_detours.py; routes of cables, corrected by published round-trip times, MIT)
outlines.py    countries' outlines, and the projection of the map that they are drawn on
               (scripts/make_outlines.py; Natural Earth, public domain)

Decisions
---------
- 2026-11-23: outlines lie beside their module as text, a country a line: 55 KB of coordinates are no Python.  1:110m is
  enough for a map as wide as a page; 1:50m is seven times as large.
- 2026-11-23: regions are cells around some sixty points, not countries: Siberia and Moscow are one country, and a
  place may have coordinates only.  A map of letters, not a nearest-point search, so that every engine agrees exactly.
- 2026-11-23: detours are kilometres from a graph of cables, corrected only a little by measurements.  A table of means
  by pair of regions scored higher on the set it was made from, and lower where a region was left out.
"""
