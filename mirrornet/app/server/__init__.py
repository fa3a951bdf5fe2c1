"""`mirrornet serve` and what belongs to it.

serve.py     the supervisor: health, planner, workers, window
worlds/      all that is read before anything is answered, and how one world follows another
voices/      who has a say in a verdict: own probes, other eyes, the operator
answers/     plans, workers, their sockets
showing/     what the window shows: why, whom, and who asks
verdicts.py  what `serve` knows of the mirrors, for `explain`
trouble.py   what fails for hours is said once
"""
