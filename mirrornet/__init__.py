"""mirrornet: one disk image, many cheap mirrors, every machine boots from the nearest."""

__version__ = "0.1.0"
