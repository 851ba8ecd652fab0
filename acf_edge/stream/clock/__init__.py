"""A clock that is painted into the picture and read back at the other end."""
