"""From a select name to mirrors, by DNS, and what the name servers are told in return.

    resolve.py   from a select name to endpoints, by DNS (the door to dnspython)
    share.py     once an hour, if allowed: what was measured, to the name servers

Decisions
---------
- 2026-11-23: an address that is not public is dialled only if SOURCE is a URL, or `--resolver` is itself not public
  (source.py says why).  With the system's name servers, DNS cannot send a client into its own network.
"""
