"""How config.py is run, and how its mistakes are told."""

import os
import sys
import unittest

from daemon import Case, end


class Namespace(Case):

    def test_names_are_there_without_an_import(self):
        host = self.start("""
            for name in ("TaskScheduler ShellScheduler FileManager Rule EventMap Watch Pyinotifyd "
                         "PyinotifydConfig FileManagerRule FileManagerScheduler Cancel setLoglevel "
                         "enableSyslog DEBUG INFO WARNING ERROR CRITICAL asyncio logging os re shutil "
                         "sys signal").split():
                assert name in globals(), name
            assert logging.handlers.SysLogHandler
            assert __name__ == "__pyinotifyd_config__" and sys.modules[__name__].__dict__ is globals()
            assert os.path.isabs(__file__) and sys.path[0] == os.path.dirname(__file__)
            assert "" not in sys.path
            logging.info(__file__)
            pyinotifyd = Pyinotifyd()
            """)
        self.assertEqual(host.logged(), [self.config])
        self.assertEqual([it[0] for it in host.messages], ["hello", "log", "logging", "document"])
        hello = host.messages[0][1]
        self.assertEqual(hello, {"protocol": 1, "python": ".".join(map(str, sys.version_info[:3])),
                                 "executable": hello["executable"], "pid": host.process.pid})

    def test_neighbours_can_be_imported_and_leave_nothing(self):
        self.write("def f(): return 1", "neighbour.py")
        host = self.start("import neighbour\nassert neighbour.f() == 1\npyinotifyd = Pyinotifyd()")
        self.assertEqual(host.end(), 0)
        self.assertNotIn("__pycache__", os.listdir(self.folder))

    def test_tasks_see_what_the_file_defines(self):
        host = self.start("""
            import json as mine
            from dataclasses import dataclass
            count = 0
            @dataclass
            class Thing:
                x: int
            def helper(): return mine.dumps(Thing(count).x)
            async def job(event, task_id):
                global count
                count += 1
                logging.info(helper())
            s = TaskScheduler(job)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}))
            """)
        host.result("s"), host.result("s")
        self.assertEqual(host.logged(), ["1", "2"])

    def test_an_encoding_is_respected(self):
        host = self.start("# -*- coding: latin-1 -*-\nlogging.info('ü')\npyinotifyd = Pyinotifyd()\n".encode("latin-1"))
        self.assertEqual(host.logged(), ["ü"])

    def test_what_asyncio_has_can_be_made_at_the_top_level(self):
        host = self.start("""
            loop = asyncio.get_event_loop()
            lock, queue, event = asyncio.Lock(), asyncio.Queue(), asyncio.Event()
            async def background():
                while True:
                    item = await queue.get()
                    logging.info("background %s", item)
                    event.set()
            task = loop.create_task(background())
            async def job(e, task_id):
                assert asyncio.get_event_loop() is loop and asyncio.current_task() is not None
                async with lock:
                    await queue.put(e.name)
                    await event.wait()
            s = TaskScheduler(job)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}))
            """)
        self.assertEqual(host.result("s"), ("done", None))
        self.assertEqual(host.logged(), ["background f"])
        self.assertEqual(host.end(), 0)

    def test_the_loop_may_be_used_and_chosen_by_the_file(self):
        for text in ("asyncio.run(asyncio.sleep(0))",
                     "asyncio.get_event_loop().run_until_complete(asyncio.sleep(0))",
                     "asyncio.set_event_loop(asyncio.SelectorEventLoop())",
                     "asyncio.get_event_loop().close()"):
            with self.subTest(text):
                host = self.start(text + """
async def job(event, task_id):
    await asyncio.sleep(0)
s = TaskScheduler(job)""" + end("s"))
                self.assertEqual(host.result("s"), ("done", None))
                self.assertEqual(host.end(), 0)

    def test_commands_can_be_started(self):
        host = self.start("""
            async def job(event, task_id):
                shell = await asyncio.create_subprocess_shell("cat; exit 3")
                assert await shell.wait() == 3
                exe = await asyncio.create_subprocess_exec("true")
                assert await exe.wait() == 0
                # Neither the socket nor what is ignored is inherited.
                out = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", "import os, signal\\n"
                    "print(sorted(os.readlink('/proc/self/fd/' + it) for it in os.listdir('/proc/self/fd')"
                    " if os.path.exists('/proc/self/fd/' + it)))\\n"
                    "print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)", stdout=-1)
                said, _ = await out.communicate()
                logging.info(said.decode())
            s = TaskScheduler(job)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}))
            """)
        self.assertEqual(host.result("s"), ("done", None), host.logged())
        self.assertNotIn("socket", host.logged()[0])
        self.assertIn("/dev/null", host.logged()[0])
        self.assertIn("True", host.logged()[0])

    def test_a_forked_child_does_not_speak_for_its_parent(self):
        host = self.start("""
            def fork(event):
                logging.info("before")
                pid = os.fork()
                if not pid:
                    logging.warning("in the child")
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
                logging.info("after")
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": fork}))
            """)
        self.assertEqual(host.result("fork"), ("done", None))
        self.assertEqual(host.logged(), ["before", "after"])
        self.assertRegex(host.printed()[1], "pyinotifyd/root - WARNING - in the child")


class Mistakes(Case):

    def test_a_name_that_does_not_exist(self):
        error = self.refused("\n\nx = EventMapp()\n")
        self.assertEqual((error["file"], error["line"]), (self.config, 3))
        self.assertEqual(error["message"],
                         "NameError: name 'EventMapp' is not defined. Did you mean: 'EventMap'?")
        lines = error["traceback"].splitlines()
        self.assertEqual(lines[:3], ["Traceback (most recent call last):",
                                     f'  File "{self.config}", line 3, in <module>', "    x = EventMapp()"])
        self.assertEqual(lines[-1], error["message"])

    def test_an_argument_that_does_not_exist(self):
        error = self.refused("\nw = Watch(\n    '/w',\n    None,\n    autoadd=True)\n")
        self.assertEqual(error["line"], 2)
        self.assertEqual(error["message"], "TypeError: Watch() got an unexpected keyword argument "
                         "'autoadd'. Did you mean: 'auto_add'?")
        self.assertNotIn("<pyinotifyd", error["traceback"])
        self.assertNotIn("importlib", error["traceback"])

    def test_arguments_of_the_wrong_type(self):
        for text, message in (
                ("TaskScheduler(1)", "TypeError: the job of a TaskScheduler has to be callable, int is not"),
                ("TaskScheduler()", "TypeError: TaskScheduler() missing 1 required argument: 'job'"),
                ("ShellScheduler(['x'])", "TypeError: the cmd of a ShellScheduler has to be a str, not list"),
                ("ShellScheduler('x', dely=1)", "TypeError: ShellScheduler() got an unexpected keyword "
                                                "argument 'dely'. Did you mean: 'delay'?"),
                ("FileManagerScheduler(['x'])", "TypeError: a rule has to be a FileManagerRule or a Rule, not 'x'"),
                ("Cancel(1)", "TypeError: Cancel() takes a scheduler, not 1"),
                ("EventMap([])", "TypeError: an event map has to be a dict, not list"),
                ("Watch(None)", "TypeError: the path of a Watch has to be a str or a list of them, not None"),
                ("Watch('/w', {}, None, True, rec=True)", "TypeError: Watch() got multiple values for argument 'rec'"),
                ("TaskScheduler((lambda: (yield)))", "TypeError: the job of a TaskScheduler cannot have a "
                                                     "`yield`: nothing would ever run it"),
                ("Pyinotifyd([1])", "TypeError: a watch has to be a Watch, not 1")):
            with self.subTest(text):
                error = self.refused("\n" + text)
                self.assertEqual((error["message"], error["line"]), (message, 2))

    def test_nobody_is_given_up_for_half_of_the_work(self):
        if os.getuid() != 0:
            self.skipTest("skipped: it is not root, because only root can become another")
        error = self.refused("os.setgid(1)\ns = ShellScheduler('true')\n"
                             "pyinotifyd = Pyinotifyd(Watch('/w', {'IN_CREATE': s}))\n")
        self.assertIn("gives up its user or group", error["message"])
        self.start("os.setgid(1)\nasync def job(event, task_id): pass\n"
                   "pyinotifyd = Pyinotifyd(Watch('/w', {'IN_CREATE': job}))\n")

    def test_what_cannot_be_described_has_a_place_too(self):
        for text, message, line in (
                ("s = ShellScheduler('true',\n delay=float('nan'))", "delay cannot be nan, a float", 1),
                ("import datetime\ns = ShellScheduler('true', timeout=datetime.timedelta(1))",
                 "timeout cannot be datetime.timedelta(days=1), a timedelta", 2),
                ("m = EventMap({'IN_CREATE': 7})",
                 "the event map's entry 'IN_CREATE' is neither a scheduler nor callable: 7", 1),
                ("m = EventMap({}, default_sched='x')",
                 "the default is neither a scheduler nor callable: 'x'", 1),
                ("m = EventMap({}, exclude_filter=5)", "a filter has to be a list of regular "
                 "expressions, or the path of a file of them, not 5", 1),
                ("m = EventMap({}, exclude_filter=[b'x'])",
                 "a filter has to be a regular expression, not b'x'", 1)):
            with self.subTest(text):
                error = self.refused(text + "\nm = globals().get('m')\npyinotifyd = Pyinotifyd(Watch('/w', m))")
                self.assertEqual((error["message"], error["line"]), (message, line))
                self.assertIsNone(error["traceback"])

    def test_a_syntax_error(self):
        error = self.refused("x = 1\ny = (1,\n\npyinotifyd = Pyinotifyd(]\n")
        self.assertEqual(error["file"], self.config)
        self.assertIn(error["line"], (2, 4))
        self.assertRegex(error["message"], "^SyntaxError: ")
        self.assertIn(f'  File "{self.config}", line {error["line"]}\n    ', error["traceback"])
        self.assertTrue(error["traceback"].rstrip().endswith("^"), error["traceback"])

    def test_a_wrong_indent(self):
        error = self.refused("if True:\nx = 1\n")
        self.assertEqual(error["line"], 2)
        self.assertRegex(error["message"], "^IndentationError: expected an indented block")

    def test_an_error_in_a_neighbour(self):
        self.write("def f():\n    return {}['x']\n", "neighbour.py")
        error = self.refused("import neighbour\n\nneighbour.f()\n")
        self.assertEqual((error["file"], error["line"]), (self.config, 3))
        self.assertIn("neighbour.py\", line 2, in f", error["traceback"])
        self.write("x = \n", "neighbour.py")
        error = self.refused("import neighbour\n")
        self.assertEqual((error["file"], error["line"]), (os.path.join(self.folder, "neighbour.py"), 1))
        self.assertIn("line 1, in <module>\n    import neighbour", error["traceback"])
        self.assertNotIn("importlib", error["traceback"])

    def test_a_module_that_is_not_there(self):
        error = self.refused("\nimport nowhere_to_be_found\n")
        self.assertEqual((error["line"], error["message"]),
                         (2, "ModuleNotFoundError: No module named 'nowhere_to_be_found'"))

    def test_an_exit_is_an_error(self):
        error = self.refused("\nsys.exit('no')\n")
        self.assertEqual((error["line"], error["message"]), (2, "the configuration called sys.exit('no')"))
        self.assertEqual(self.refused("exit(0)")["message"], "the configuration called sys.exit(0)")
        self.assertEqual(self.refused("sys.exit()")["message"], "the configuration called sys.exit()")

    def test_any_exception_at_all(self):
        self.assertEqual(self.refused("raise KeyboardInterrupt")["message"], "KeyboardInterrupt")
        self.assertEqual(self.refused("class E(BaseException): pass\nraise E('x')")["message"],
                         "E: x")
        error = self.refused("try:\n    1 / 0\nexcept Exception as e:\n    raise ValueError('two\\nlines') from e")
        self.assertEqual((error["line"], error["message"]), (4, "ValueError: two\nlines"))
        self.assertIn("ZeroDivisionError", error["traceback"])
        self.assertIn("RecursionError", self.refused("def f(): f()\nf()")["message"])

    def test_an_end_without_a_word_is_the_end(self):
        host = self.launch("logging.info('last words')\nos._exit(7)")
        self.assertEqual(host.wait(), 7)
        self.assertEqual([it[0] for it in host.messages], ["hello", "log"])

    def test_no_variable_pyinotifyd(self):
        for text in ("", "import pyinotifyd"):
            error = self.refused(text)
            self.assertEqual((error["file"], error["line"], error["message"]),
                             (self.config, None, "there is no variable `pyinotifyd`"))
            self.assertEqual(len(error["hints"]), 1)
        self.assertEqual(self.refused("pyinotifyd = 3")["message"],
                         "the variable `pyinotifyd` has to be a Pyinotifyd, not int")

    def test_a_file_that_cannot_be_read(self):
        path = os.path.join(self.folder, "missing.py")
        error = self.refused(None, config=path)
        self.assertEqual((error["file"], error["line"]), (path, None))
        self.assertEqual(error["message"], f"cannot read {path}: No such file or directory")

    def test_bytes_that_are_no_text(self):
        error = self.refused(b"x = '\xff'\n")
        self.assertEqual(error["file"], self.config)
        self.assertRegex(error["message"], "SyntaxError: .*utf-8")

    def test_warnings_come_with_the_error(self):
        self.write("p = PyinotifydConfig()\npyinotifyd_config = p\nboom\n")
        host = self.launch()
        self.assertEqual(host.wait(), 1)
        self.assertEqual([it["severity"] for it in host.diagnostics], ["warning", "error"])

    @unittest.skipIf(sys.version_info < (3, 12), "Python says nothing about it")
    def test_what_the_compiler_warns_of_is_told(self):
        host = self.start("x = '\\.'\npyinotifyd = Pyinotifyd()")
        warning, = host.document["diagnostics"]
        self.assertEqual((warning["line"], warning["severity"]), (1, "warning"))
        self.assertRegex(warning["message"], "SyntaxWarning: .*invalid escape sequence")

    def test_lines_are_those_that_run_even_if_the_file_changes(self):
        host = self.start("""
            async def job(event, task_id):
                raise ValueError("x")
            s = TaskScheduler(job)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}))
            """)
        self.write("# another\n# file\n# now\n")
        host.result("s")
        self.assertIn('raise ValueError("x")', host.logged()[0])


class OldPythons(unittest.TestCase):

    def test_the_bootstrap_says_what_is_needed(self):
        import daemon
        import shutil
        import subprocess
        with open(os.path.join(daemon.PACKAGE, "bootstrap.py")) as file:
            bootstrap = file.read()
        old = shutil.which("python2.7") or shutil.which("python3.7")
        if old is None or subprocess.run([old, "-c", ""], stderr=subprocess.DEVNULL).returncode:
            # As near as one comes: the check itself.
            bootstrap = bootstrap.replace("sys.version_info < (3, 8)", "sys.version_info >= (3, 8)")
            old = sys.executable
        done = subprocess.run([old, "-c", bootstrap], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 3)
        self.assertRegex(done.stderr.decode(), r"^Python 3\.8 or newer is needed, this is \d+\.\d+\n$")
