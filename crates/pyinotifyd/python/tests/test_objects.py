"""Both generations' constructors, and the document that they become."""

import os

from daemon import Case


class FirstGeneration(Case):

    def test_the_page_s_first_example_works_with_a_warning(self):
        host = self.start("""\
            async def task(event, task_id):
                logging.info(f"{task_id}: execute example task: {event}")

            s = TaskScheduler(
                task=task,
                files=True,
                dirs=True)

            event_map = EventMap(
                default_task=s.schedule)

            watch = Watch(
                path="/tmp",
                event_map=event_map,
                rec=True,
                auto_add=True)

            pyinotifyd_config = PyinotifydConfig(
                watches=[watch],
                shutdown_timeout=5)
            """)
        self.assertEqual(host.document["watches"], [{
            "file": self.config, "line": 12, "path": ["/tmp"], "rec": True, "auto_add": True,
            "exclude_filter": [], "include_filter": [],
            "event_map": [["default", [["schedule", "s"]]]]}])
        self.assertEqual(host.document["schedulers"], [{
            "name": "s", "file": self.config, "line": 4, "logname": "sched", "files": True,
            "dirs": True, "delay": 0, "singlejob": False, "busy": "parallel",
            "action": {"python": 1, "name": "task"}}])
        self.assertEqual(host.document["shutdown_timeout"], 5)
        warnings = host.document["diagnostics"]
        self.assertEqual([(it["severity"], it["line"]) for it in warnings], [("warning", 18)] * 2)
        self.assertIn("PyinotifydConfig", warnings[0]["message"])
        self.assertIn("pyinotifyd_config", warnings[1]["message"])
        self.assertEqual(host.result("s", task_id="t1"), ("done", None))
        self.assertEqual(host.logged()[-1], "t1: execute example task: <Event dir=False mask=0x100 "
                         "maskname=IN_CREATE name=f path=/w pathname=/w/f wd=1 >")

    def test_the_page_s_file_manager(self):
        host = self.start(r"""
            rule = Rule("move", r"^/src/(?P<path>.*)\.to_move$", r"/dst/\g<path>", True, 0o755, 0o644,
                        "u", "g", True)
            fm = FileManager(rules=[rule])
            fm.add_rule(action="delete", src_re="^/src/x")
            fm.add_rule(Rule("copy", "a", "b", overwrite=True))
            s = TaskScheduler(task=fm.task, delay=30, files=True, dirs=False)
            pyinotifyd = Pyinotifyd(watches=[Watch(path="/src", event_map=EventMap({
                "IN_CLOSE_WRITE": s.schedule, "IN_DELETE": s.cancel}), rec=True)])
            """)
        self.assertEqual(self.maps(host), [
            {"IN_CLOSE_WRITE": [("schedule", "s")], "IN_DELETE": [("cancel", "s")]}])
        self.assertEqual([it["name"] for it in host.document["schedulers"]], ["s"])
        self.assertEqual(host.scheduler("s")["logname"], "filemgr")
        rules = host.scheduler("s")["action"]["rules"]
        self.assertEqual(rules[0], {
            "file": self.config, "line": 2, "action": "move",
            "src_re": r"^/src/(?P<path>.*)\.to_move$", "dst_re": r"/dst/\g<path>",
            "auto_create": True, "overwrite": False, "filemode": 0o644, "dirmode": 0o755,
            "user": "u", "group": "g", "rec": True})
        self.assertEqual([(it["action"], it["line"], it["overwrite"]) for it in rules[1:]],
                         [("delete", 5, False), ("copy", 6, True)])

    def test_a_file_manager_s_task_by_itself(self):
        host = self.start("""
            fm = FileManager(Rule("delete", "x"), logname="mine")
            pyinotifyd = Pyinotifyd(Watch("/src", EventMap({"IN_CREATE": fm.task, "IN_OPEN": fm.task})))
            """)
        self.assertEqual(self.maps(host), [{"IN_CREATE": [("schedule", "fm")],
                                            "IN_OPEN": [("schedule", "fm")]}])
        scheduler = host.scheduler("fm")
        self.assertEqual((scheduler["logname"], scheduler["line"]), ("mine", 2))
        self.assertEqual(scheduler["action"]["rules"][0]["action"], "delete")

    def test_shell_schedulers_and_lists(self):
        host = self.start("""
            async def task(event, task_id): pass
            s = TaskScheduler(task, True, False, 0, "one")
            s1 = ShellScheduler("/usr/local/bin/task.sh {maskname} {pathname} {src_pathname}")
            pyinotifyd = Pyinotifyd(watches=[Watch("/w", EventMap({
                "IN_CLOSE_NOWRITE": [s.schedule, s1.schedule], "IN_OPEN": None}))], logname="d")
            """)
        self.assertEqual(self.maps(host), [
            {"IN_CLOSE_NOWRITE": [("schedule", "s"), ("schedule", "s1")], "IN_OPEN": []}])
        self.assertEqual(host.scheduler("s1")["action"],
                         {"shell": "/usr/local/bin/task.sh {maskname} {pathname} {src_pathname}"})
        self.assertEqual([host.scheduler(it)["busy"] for it in ("s", "s1")], ["parallel"] * 2)
        self.assertEqual(host.scheduler("s")["logname"], "one")
        self.assertEqual(host.document["logname"], "d")

    def test_names_of_the_original_s_own_module_are_there_for_who_uses_them(self):
        host = self.start("""
            logging.info("%s %s %s", argparse.__name__, shell_quote("a b"), len(str(uuid4())))
            logging.info(sorted({"argparse", "shell_quote", "uuid4", "pyi" + "notify"} & set(globals())))
            pyinotifyd = Pyinotifyd()
            """)
        self.assertEqual(host.logged(), ["argparse 'a b' 36", "['argparse', 'shell_quote', 'uuid4']"])

    def test_watches_take_their_arguments_in_this_order(self):
        host = self.start("""
            pyinotifyd = Pyinotifyd([Watch("/a", EventMap(), True, True), Watch("/b", None, False, True)])
            """)
        self.assertEqual([(it["rec"], it["auto_add"]) for it in host.document["watches"]],
                         [(True, True), (False, True)])


class SecondGeneration(Case):

    def test_schedulers_and_maps(self):
        host = self.start("""
            async def job(event, task_id): pass
            s = TaskScheduler(job=job, files=False, dirs=True, delay=1.5, logname="l",
                              global_vars=globals(), singlejob=True)
            sh = ShellScheduler(cmd="x {pathname}")
            fm = FileManagerScheduler(rules=[FileManagerRule(action="move", src_re="a", dst_re="b",
                                                             override=True)])
            fm2 = FileManagerScheduler(FileManagerRule("copy", "a", "b", True, True, 0o700, 0o600))
            pyinotifyd = Pyinotifyd()
            pyinotifyd.add_watch(path=["/a", "/b"], event_map={
                "IN_CREATE": s, "IN_MODIFY": [s, Cancel(sh)], "IN_OPEN": job, "IN_DELETE": None},
                default_sched=fm, rec=True, auto_add=True)
            pyinotifyd.add_watch(watch=Watch("/c", {"IN_CREATE": fm2}, fm, True, False, ["^/c/x"], "w"))
            """)
        self.assertEqual(self.maps(host), [
            {"IN_CREATE": [("schedule", "s")], "IN_MODIFY": [("schedule", "s"), ("cancel", "sh")],
             "IN_OPEN": [("schedule", "job")], "IN_DELETE": [], "default": [("schedule", "fm")]},
            {"IN_CREATE": [("schedule", "fm2")], "default": [("schedule", "fm")]}])
        first, second = host.document["watches"]
        self.assertEqual((first["path"], first["line"]), (["/a", "/b"], 10))
        self.assertEqual((second["rec"], second["auto_add"], second["exclude_filter"]),
                         (True, False, [{"regex": "^/c/x"}]))
        s = host.scheduler("s")
        self.assertEqual((s["files"], s["dirs"], s["delay"], s["logname"], s["singlejob"], s["busy"]),
                         (False, True, 1.5, "l", True, "skip"))
        job = host.scheduler("job")
        self.assertEqual((job["files"], job["dirs"], job["line"]), (True, False, 2))
        self.assertEqual(host.scheduler("fm")["logname"], "filemgr")
        self.assertTrue(host.scheduler("fm")["action"]["rules"][0]["overwrite"])
        rule = host.scheduler("fm2")["action"]["rules"][0]
        self.assertEqual((rule["auto_create"], rule["overwrite"], rule["dirmode"], rule["filemode"]),
                         (True, True, 0o700, 0o600))

    def test_exclude_filters_in_all_forms(self):
        self.write("# none\n^/w/x\n", "list")
        host = self.start(r"""
            import pyinotify
            folder = os.path.dirname(__file__)
            s = ShellScheduler("true", exclude_filter=[{"glob": "*.tmp"}, r"\.bak$"],
                               include_filter=[re.compile("a", re.I | re.S)])
            pyinotifyd = Pyinotifyd([
                Watch("/a", EventMap({"IN_CREATE": s}, exclude_filter=["b"]), exclude_filter=["a"]),
                Watch("/b", {"IN_CREATE": s}, exclude_filter=folder + "/list"),
                Watch("/c", {"IN_CREATE": s}, exclude_filter=pyinotify.ExcludeFilter(["^/c/x"])),
                Watch("/d", {"IN_CREATE": s}, exclude_filter=pyinotify.ExcludeFilter(folder + "/list")),
                Watch("/e", {"IN_CREATE": s}, include_filter=["y"]),
            ])
            """)
        watches = host.document["watches"]
        self.assertEqual([it["exclude_filter"] for it in watches], [
            [{"regex": "a"}, {"regex": "b"}], [{"file": os.path.join(self.folder, "list")}],
            [{"regex": "^/c/x"}], [{"regex": "^/w/x"}], []])
        self.assertEqual(watches[4]["include_filter"], [{"regex": "y"}])
        self.assertEqual(host.scheduler("s")["exclude_filter"], [{"glob": "*.tmp"}, {"regex": r"\.bak$"}])
        self.assertEqual(host.scheduler("s")["include_filter"], [{"regex": "(?is)a"}])

    def test_what_may_be_said_of_a_scheduler_beyond_the_original(self):
        host = self.start("""
            s = ShellScheduler("true", busy="again", slots=2, timeout="5m", kill_after=1, max_wait=9,
                               ready=["closed", "done-file:{pathname}.ok"],
                               retry={"tries": 3, "backoff": "1s"}, follow=True, breaker=False,
                               batch=True, env={"A": "b"}, cwd="/", user="u", group=3, umask=0o27,
                               nice=5, rlimits={"nofile": 9}, output="log", output_level="debug")
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}), slots=7)
            """)
        self.assertEqual(host.document["slots"], 7)
        s = host.scheduler("s")
        self.assertEqual({it: s[it] for it in ("busy", "slots", "timeout", "retry", "follow", "breaker", "ready",
                                               "umask", "rlimits", "group")},
                         {"busy": "again", "slots": 2, "timeout": "5m", "follow": True,
                          "retry": {"tries": 3, "backoff": "1s"}, "breaker": False,
                          "ready": ["closed", "done-file:{pathname}.ok"], "umask": 0o27,
                          "rlimits": {"nofile": 9}, "group": 3})

    def test_a_subclass_that_has_only_a_job_is_scheduled_by_the_daemon(self):
        host = self.start("""
            class Uploads(TaskScheduler):
                async def job(self, event, task_id):
                    logging.info("%s %s %s", self.logname, event.name, task_id)
            u = Uploads(logname="up")
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": u}))
            """)
        self.assertEqual(self.maps(host), [{"IN_CREATE": [("schedule", "u")]}])
        self.assertEqual(host.scheduler("u")["action"]["name"], "Uploads.job")
        self.assertEqual(host.result("u", task_id="t"), ("done", None))
        self.assertEqual(host.logged(), ["up f t"])

    def test_a_subclass_that_handles_events_gets_each(self):
        host = self.start("""
            class Mine(TaskScheduler):
                async def process_event(self, event):
                    if event.name != "no":
                        await super().process_event(event)
                def process_cancel_event(self, event):
                    return super().process_cancel_event(event)
                def taskindex(self, event):
                    return event.path
            async def job(event, task_id): pass
            m = Mine(job)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": m, "IN_DELETE": Cancel(m)}))
            """)
        self.assertEqual(self.maps(host), [{"IN_CREATE": [("schedule", "Mine.process_event")],
                                            "IN_DELETE": [("schedule", "Mine.process_cancel_event")]}])
        self.assertIs(host.scheduler("m")["follow"], False)
        call = host.scheduler("Mine.process_event")
        self.assertEqual((call["files"], call["dirs"], call["busy"], call["line"]), (True, True, "parallel", 11))
        self.assertEqual(list(call["action"]), ["call", "name"])
        host.result("Mine.process_event", pathname="/w/no")
        host.result("Mine.process_event", pathname="/w/yes")
        host.result("Mine.process_cancel_event", pathname="/w/yes")
        self.assertEqual([(it[1], it[2], it[3]["pathname"], it[4]) for it in host.all("order")],
                         [("schedule", "m", "/w/yes", "/w"), ("cancel", "m", "/w/yes", "/w")])

    def test_event_map_subclasses_with_methods(self):
        host = self.start("""
            class Map(EventMap):
                def process_IN_CREATE(self, event):
                    logging.info("create %s", event.name)
                def process_IN_CLOSE(self, event):
                    logging.info("close %s", event.maskname)
                async def process_default(self, event):
                    logging.info("default %s", event.maskname)
                def process_helper(self): pass
            s = ShellScheduler("true")
            pyinotifyd = Pyinotifyd([Watch("/w", Map({"IN_OPEN": s})), Watch("/v", Map(default_sched=s))])
            """)
        first, second = self.maps(host)
        self.assertEqual(first, {
            "IN_OPEN": [("schedule", "s")], "IN_CREATE": [("schedule", "Map.process_IN_CREATE")],
            "IN_CLOSE_WRITE": [("schedule", "Map.process_IN_CLOSE")],
            "IN_CLOSE_NOWRITE": [("schedule", "Map.process_IN_CLOSE")],
            "default": [("schedule", "Map.process_default")]})
        self.assertEqual(second["default"], [("schedule", "s")])
        host.result("Map.process_IN_CREATE")
        host.result("Map.process_IN_CLOSE", mask=0x8)
        host.result("Map.process_default", mask=0x40000002)
        self.assertEqual(host.logged(), ["create f", "close IN_CLOSE_WRITE", "default IN_MODIFY|IN_ISDIR"])


    def test_what_stands_elsewhere_in_the_original_is_found_there(self):
        host = self.start("""
            import pyinotifyd as package
            from pyinotifyd.scheduler import FileManagerScheduler as F, FileManagerRule as R
            from pyinotifyd.scheduler import *
            from pyinotifyd import ExcludeFilter
            assert package.pyinotify.ExcludeFilter is ExcludeFilter and F is FileManagerScheduler
            assert not hasattr(package, "nothing") and not hasattr(package.scheduler, "nothing")
            logging.info("%s %s", package.__version__, sys.argv)
            pyinotifyd = Pyinotifyd([], 30, "daemon", asyncio.get_event_loop())
            pyinotifyd.set_watches([Watch("/w", {"IN_CREATE": F(R("delete", "x"))})])
            pyinotifyd.set_shutdown_timeout(7)
            """, argv=["pyinotifyd", "-c", "x"])
        self.assertEqual(self.maps(host), [{"IN_CREATE": [("schedule", "FileManagerScheduler")]}])
        self.assertEqual(host.document["shutdown_timeout"], 7)
        self.assertEqual(host.logged(), ["0.1.0 ['pyinotifyd', '-c', 'x']"])

    def test_no_delay_and_no_logname_are_the_defaults(self):
        host = self.start("""
            s = ShellScheduler("true", delay=False, logname="")
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}), logname="")
            """)
        self.assertEqual((host.scheduler("s")["delay"], host.scheduler("s")["logname"]), (0, "sched"))
        self.assertIs(type(host.scheduler("s")["delay"]), int)
        self.assertEqual(host.document["logname"], "daemon")


class Both(Case):

    def test_generations_mix_in_one_file(self):
        host = self.start("""
            from pyinotifyd.scheduler import *
            import pyinotifyd.filemanager, pyinotifyd.watch
            from pyinotifyd import Pyinotifyd as P
            async def task(event, task_id): pass
            old = TaskScheduler(task=task)
            single = TaskScheduler(task=task, singlejob=True)
            new = TaskScheduler(job=task, busy="again")
            fm = pyinotifyd.filemanager.FileManagerScheduler([Rule("delete", "x")])
            both = EventMap({"IN_CREATE": old.schedule, "IN_MODIFY": new, "IN_DELETE": [old.cancel, Cancel(new)],
                             "IN_OPEN": new.schedule}, default_sched=fm)
            pyinotifyd = P(watches=pyinotifyd.watch.Watch("/w", both, default_task=None))
            """)
        self.assertEqual(self.maps(host), [{
            "IN_CREATE": [("schedule", "old")], "IN_MODIFY": [("schedule", "new")],
            "IN_DELETE": [("cancel", "old"), ("cancel", "new")], "IN_OPEN": [("schedule", "new")],
            "default": [("schedule", "fm")]}])
        self.assertEqual([host.scheduler(it)["busy"] for it in ("old", "single", "new")],
                         ["parallel", "skip", "again"])

    def test_plain_callables_get_each_event(self):
        host = self.start("""
            import functools
            class Called:
                def __call__(self, event): logging.info("called %s", event.name)
                def method(self, event): logging.info("method %s", event.name)
            def plain(event): logging.info("plain %s", event.name)
            it = Called()
            pyinotifyd = Pyinotifyd(Watch("/w", EventMap({
                "IN_CREATE": [plain, it, it.method, lambda e: logging.info("lambda"),
                              functools.partial(plain)], "IN_OPEN": it.method})))
            """)
        names = [name for _, name in self.maps(host)[0]["IN_CREATE"]]
        self.assertEqual(names, ["plain", "Called", "Called.method", "<lambda>", "plain#2"])
        self.assertEqual(self.maps(host)[0]["IN_OPEN"], [("schedule", "Called.method")])
        for name in names:
            self.assertEqual(host.result(name), ("done", None))
        self.assertEqual(host.logged(), ["plain f", "called f", "method f", "lambda", "plain f"])
        self.assertEqual([host.scheduler(it)["line"] for it in names[:3]], [6, 4, 5])

    def test_names_are_those_of_variables_and_the_same_each_time(self):
        text = """
            async def task(event, task_id): pass
            class Sub(TaskScheduler): pass
            a = alias = TaskScheduler(task)
            rest = [TaskScheduler(task), Sub(task), TaskScheduler(task), ShellScheduler("true")]
            TaskScheduler_2 = None
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": rest, "IN_OPEN": task}))
            """
        names = [[it["name"] for it in self.start(text).document["schedulers"]] for _ in range(2)]
        self.assertEqual(names[0], ["TaskScheduler", "Sub", "TaskScheduler#2", "ShellScheduler", "task", "a"])
        self.assertEqual(names[0], names[1])

    def test_paths_are_those_that_were_written(self):
        host = self.start("""
            import pathlib
            os.chdir("/usr")
            w = Watch("lib", None)
            os.chdir("/")
            pyinotifyd = Pyinotifyd([Watch(pathlib.Path("/a/"), None), Watch(b"/\\xff", None),
                                     Watch(("/x/*", "/y"), None), w, Watch("", None)])
            """)
        self.assertEqual([it["path"] for it in host.document["watches"]],
                         [["/a"], ["/\udcff"], ["/x/*", "/y"], ["/usr/lib"], [""]])

    def test_what_config_py_made_of_its_process_is_told(self):
        host = self.start("""
            import resource
            os.environ["MINE"] = "1"
            del os.environ["GONE"]
            os.chdir("/usr")
            os.umask(0o077)
            os.nice(1)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            pyinotifyd = Pyinotifyd()
            """, env={"GONE": "x"})
        process = host.document["process"]
        self.assertEqual(process["env"], {"MINE": "1", "GONE": None})
        self.assertEqual((process["cwd"], process["umask"], process["nice"]), ("/usr", 0o77, 1))
        self.assertEqual(process["rlimits"]["nofile"][0], 64)

    def test_global_vars_are_seen_by_a_job_that_has_none_of_them(self):
        self.write("async def job(event, task_id):\n    note(event.name)\n", "jobs.py")
        host = self.start("""
            import jobs
            def note(text): logging.info("noted %s", text)
            s = TaskScheduler(jobs.job, global_vars=globals())
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}))
            """)
        self.assertEqual(host.result("s"), ("done", None))
        self.assertEqual(host.logged(), ["noted f"])
