class Later(TaskScheduler):
    def process_event(self, event):
        if event.name.endswith(".tmp"):
            return super().cancel(event)
        return super().process_event(event)

    def taskindex(self, event):
        return event.path


async def job(event, task_id):
    shell.schedule(event)


later = Later(job, delay=5)
shell = ShellScheduler("true")
pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": later}))
