"""The world: all that is read before anything is answered, and how one follows another.

world.py        zone files, table, sets, round trips
files.py        when the files are worth reading again
policies.py     the as-sets and route-sets that zones name, held against the table
families.py     selects whose AAAA answers send dual-stack clients far away
endpoints.py    where clients report to, told by DNS
manners.py      from `server:` in a zone file to what workers are told
tokens.py       who may say something by HTTP
"""
