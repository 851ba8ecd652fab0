"""Where frames come from: cameras, networks, files, folders, test pictures."""
