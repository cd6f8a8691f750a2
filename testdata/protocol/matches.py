files = FileManagerScheduler([
    FileManagerRule("move", r"^/in/(?:(a*)|b)*$", r"/out/\1"),
    FileManagerRule("delete", r"(?i)^/in/ä"),
])
pyinotifyd = Pyinotifyd(Watch("/in", {"IN_CLOSE_WRITE": files}))
