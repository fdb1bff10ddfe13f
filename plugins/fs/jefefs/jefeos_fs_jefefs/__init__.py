"""JefeFS: the project's own filesystem. README.md specifies it; layout.py declares what is on the medium."""
