fm = FileManager([Rule("move", r"^/in/(?P<path>.*)$", r"/out/\g<path>", auto_create=True)])


async def check(event, task_id):
    await fm.task(event, task_id)


c = TaskScheduler(check)
pyinotifyd = Pyinotifyd(Watch("/in", {"IN_CLOSE_WRITE": c}))
