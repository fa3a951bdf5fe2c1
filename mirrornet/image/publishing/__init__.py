"""An image becomes a version of itself in a repository.

cut.py       an image cut into blocks on all cores
publish.py   publish and resign
"""
