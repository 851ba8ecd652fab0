"""Where enhanced frames go on this machine: recordings, folders of pictures, nowhere."""
