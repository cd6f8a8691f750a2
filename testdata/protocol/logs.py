class Collect(logging.Handler):
    def emit(self, record):
        logging.getLogger("seen").warning("%s by %s: %s", record.levelname, record.name,
                                          record.getMessage())


setLoglevel(ERROR, "sched")
logging.getLogger("daemon").addHandler(Collect())
logging.getLogger("mine").info("it begins\nin two lines")


def louder(event):
    setLoglevel(DEBUG, "sched")


pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": louder}))
