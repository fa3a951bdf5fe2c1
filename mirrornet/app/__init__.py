"""Wiring: the only place where rooms meet.  Processes start, reload and stop here; nothing is decided here.

server/       `mirrornet serve`, and what `check`, `explain` and `simulate` read with it
client/       a session of the client and its doors: `mount`, `nbd`, `boot`, `pull`, `pin`, `status`
copying.py    `sync` and `audit`: the client's ways to mirrors, lent to the image's room
refresh.py    `refresh`: a copy of an image, its own upgrade, a check, a publish
vantage.py    `vantage`: the mirrors of a zone seen from elsewhere
doctor/       `doctor`: a deployment looked at from end to end
lab.py        `lab`: a zone of the operator's, tried on this machine
control.py    the socket on which a running process is asked
notify.py     what the service manager is told, and what it keeps for us
signals.py    what ends a process that runs until it is told to, and what has it reload
daemon.py     leaving a process behind, and hearing from it until it is ready
folders.py    where state, cache and sockets live
lock.py       one process a folder
logs.py       where the log goes, and in which form
"""
