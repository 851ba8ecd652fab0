"""Long videos in pieces that survive a crash, on one machine or many; folders of files."""
