"""Python's logging governs, and the daemon writes."""

import os
import socket

from daemon import Case


class Settings(Case):

    def settings(self, text, **start):
        return self.start(text + "\npyinotifyd = Pyinotifyd()\n", **start).logging

    def test_without_a_word(self):
        self.assertEqual(self.settings(""), {"levels": {"": 20}, "stderr": True, "forward": [], "apart": []})

    def test_levels(self):
        self.assertEqual(self.settings("""
setLoglevel(WARNING)
setLoglevel(DEBUG, "sched")
logging.getLogger("mine").setLevel(logging.ERROR)
logging.getLogger("quiet").disabled = True
logging.getLogger("nothing.own")
""")["levels"], {"": 30, "sched": 10, "mine": 40, "quiet": 51})

    def test_debug_beats_the_root_s_level_and_no_other(self):
        host = self.start("""
            logging.debug("while it is read")
            setLoglevel(ERROR)
            setLoglevel(ERROR, "sched")
            pyinotifyd = Pyinotifyd()
            """, debug=True)
        self.assertEqual(host.logging["levels"], {"": 10, "sched": 40})
        self.assertEqual(host.logged(), ["while it is read"])

    def test_a_level_of_one_s_own_keeps_its_name(self):
        host = self.start("""
            logging.addLevelName(35, "NOTICE")
            logging.log(35, "for people")
            logging.warning("for the daemon")
            pyinotifyd = Pyinotifyd()
            """)
        self.assertEqual(host.logged(), ["for the daemon"])
        with open(host.folder + "/stderr", encoding="utf-8") as file:
            self.assertRegex(file.read(), " - pyinotifyd/root - NOTICE - for people\n")

    def test_everything_below_a_level_may_be_disabled(self):
        self.assertEqual(self.settings("logging.disable(logging.WARNING); setLoglevel(ERROR, 'sched')")
                         ["levels"], {"": 31, "sched": 40})

    def test_handlers_of_config_py_s_own(self):
        settings = self.settings("""
logging.getLogger().addHandler(logging.StreamHandler())
logging.getLogger("sched").addHandler(logging.NullHandler())
""")
        self.assertEqual((settings["stderr"], settings["forward"]), (True, ["", "sched"]))

    def test_the_default_handler_taken_away_or_changed(self):
        for text in ("logging.getLogger().removeHandler(logging.getLogger().handlers[0])",
                     "logging.getLogger().handlers.clear()",
                     "logging.getLogger().handlers[0].setFormatter(logging.Formatter('%(message)s'))",
                     "logging.getLogger().handlers[0].setLevel(30)",
                     "logging.getLogger().handlers[0].addFilter(lambda record: True)",
                     "logging.getLogger().handlers[0].setStream(sys.stdout)",
                     "import logging.config\n"
                     "logging.config.dictConfig({'version': 1, 'root': {'handlers': []}})",
                     "logging.basicConfig(force=True)"):
            with self.subTest(text):
                self.assertIs(self.settings(text)["stderr"], False)

    def test_loggers_that_keep_their_records_to_themselves(self):
        settings = self.settings("""
logging.getLogger("sched").propagate = False
logging.getLogger("daemon").addFilter(lambda record: "x" in record.getMessage())
""")
        self.assertEqual((settings["stderr"], settings["forward"], settings["apart"]),
                         (True, ["daemon", "sched"], ["daemon", "sched"]))

    def test_changes_at_run_time_are_told(self):
        host = self.start("""
            def level(event): setLoglevel(DEBUG)
            def handler(event): logging.getLogger("x").addHandler(logging.NullHandler())
            def disabled(event): logging.getLogger("x").disabled = True
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": [level, handler, disabled]}))
            """)
        host.next("logging")
        host.result("level")
        self.assertEqual(host.next("logging")[1]["levels"], {"": 10})
        host.result("handler")
        self.assertEqual(host.next("logging")[1]["forward"], ["x"])
        host.result("disabled")
        # No method tells of it, so it is seen by looking, which is done while something happens.
        while len(host.all("logging")) < 4:
            host.ping()
        self.assertEqual(host.all("logging")[-1][1]["levels"], {"": 10, "x": 51})


class Records(Case):

    def test_records_of_python_go_to_the_daemon(self):
        host = self.start("""
            logging.getLogger("mine").warning("at %s", "once")
            logging.debug("not this")
            try:
                1 / 0
            except Exception:
                logging.exception("caught")
            logging.info("wrong %d", "x")
            pyinotifyd = Pyinotifyd()
            """)
        first, second = host.all("log")
        self.assertEqual(first[1:4] + first[5:], [30, "mine", "at once", None])
        self.assertIsInstance(first[4], float)
        self.assertEqual(second[1:3], [40, "root"])
        self.assertTrue(second[3].startswith("caught\nTraceback (most recent call last):\n"))
        self.assertIn("--- Logging error ---", host.printed()[1])

    def test_a_changed_default_handler_writes_itself(self):
        host = self.start("""
            logging.getLogger().handlers[0].setFormatter(logging.Formatter("mine: %(message)s"))
            logging.info("hello")
            pyinotifyd = Pyinotifyd()
            """)
        self.assertEqual((host.logged(), host.printed()[1]), ([], "mine: hello\n"))
        host.send(["log", 20, "daemon", "from the daemon", 1e9, None])
        host.ping()
        self.assertEqual(host.printed()[1], "mine: hello\nmine: from the daemon\n")

    def test_records_of_the_daemon_go_through_handlers(self):
        address = os.path.join(self.folder, "log")
        log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(log.close)
        log.bind(address)
        log.settimeout(30)
        host = self.start(f"""
            enableSyslog(WARNING, {address!r}, "sched")
            class Keep(logging.Handler):
                def emit(self, record):
                    kept.append([record.levelname, record.name, record.getMessage(), record.created,
                                 record.task_id, self.format(record)])
            kept = []
            keep = Keep()
            keep.setFormatter(logging.Formatter("%(asctime)s|%(levelname)s|%(message)s", "%Y"))
            logging.getLogger().addHandler(keep)
            def tell(event):
                import json
                print(json.dumps(kept))
            pyinotifyd = Pyinotifyd(Watch("/w", {{"IN_CREATE": tell}}))
            """)
        self.assertEqual(host.logging["forward"], ["", "sched"])
        host.send(["log", 30, "sched", "t1: ü 100% {x}", 1e9, "t1"], ["log", 20, "sched", "lower", 1e9, None],
                  ["log", 10, "daemon", "too low", 1e9, None])
        host.result("tell")
        self.assertEqual(log.recv(1000).rstrip(b"\0"), "<12>pyinotifyd/sched: t1: ü 100% {x}".encode())
        import json
        self.assertEqual(json.loads(host.printed()[0]), [
            ["WARNING", "sched", "t1: ü 100% {x}", 1e9, "t1", "2001|WARNING|t1: ü 100% {x}"],
            ["INFO", "sched", "lower", 1e9, None, "2001|INFO|lower"]])
        # The daemon has written them already.
        self.assertEqual(host.logged(), [])

    def test_what_is_apart_comes_back_if_it_is_to_be_written(self):
        host = self.start("""
            logging.getLogger("daemon").addFilter(lambda record: "x" in record.getMessage())
            logging.getLogger("sched").propagate = False
            pyinotifyd = Pyinotifyd()
            """)
        host.send(*(["log", 20, name, text, 1e9, "t"] for name in ("daemon", "sched") for text in ("x", "y")))
        host.ping()
        self.assertEqual([it[1:] for it in host.all("log")], [[20, "daemon", "x", 1e9, "t"]])

    def test_a_handler_that_fails_harms_nothing(self):
        host = self.start("""
            class Bad(logging.Handler):
                def emit(self, record): raise ValueError("bad handler")
            logging.getLogger().addHandler(Bad())
            async def job(event, task_id): raise KeyError("x")
            s = TaskScheduler(job)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}))
            """)
        host.send(["log", 20, "daemon", "x", 1e9, None])
        self.assertEqual(host.result("s")[0], "failed")
        self.assertEqual(host.end(), 0)

    def test_a_record_is_sent_before_what_follows_can_end_the_host(self):
        host = self.start("""
            def dies(event):
                logging.info("last words")
                os.abort()
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": dies}))
            """)
        host.run("dies")
        self.assertEqual(host.wait(), -6)
        self.assertEqual(host.logged(), ["last words"])

    def test_records_beyond_what_is_taken_are_dropped_and_counted(self):
        gate = os.path.join(self.folder, "gate")
        os.mkfifo(gate)
        host = self.launch("""
            for number in range(40000):
                logging.info("%d %s", number, "x" * 1000)
            logging.info("y" * 3000000)
            async def job(event, task_id): pass
            s = TaskScheduler(job)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}))
            open(os.path.dirname(__file__) + "/gate", "w").close()
            """)
        # Nothing is read until all of it has been logged.
        open(gate).close()
        self.assertEqual(host.result("s"), ("done", None))
        texts = [it[3] for it in host.all("log")]
        notes = [it for it in texts if "dropped" in it]
        self.assertEqual(len(notes), 1, notes)
        dropped = int(notes[0].split()[0])
        self.assertGreater(dropped, 20000)
        self.assertEqual(len(texts) - 1 + dropped, 40001)
        self.assertEqual(texts[0].split()[0], "0")
        self.assertEqual(host.end(), 0)

    def test_a_record_too_long_is_cut(self):
        host = self.start("logging.info('y' * 3000000)\npyinotifyd = Pyinotifyd()")
        self.assertEqual(len(host.logged()[0].rstrip("y")) < 2000000, True)
        self.assertTrue(host.logged()[0].endswith("y… (1951424 characters more)"))
