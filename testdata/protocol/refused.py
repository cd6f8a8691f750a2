w = Watch("/w", {})
old = PyinotifydConfig([w])

ShellScheduler("true", dely=3)
