"""One block and the index of blocks, as FORMAT.md lays them down: bytes and what they mean.  Pure."""
