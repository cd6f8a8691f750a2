"""The package runs on the oldest Python that it is for."""

import ast
import glob
import os
import unittest

from daemon import PACKAGE


class Syntax(unittest.TestCase):

    def test_nothing_is_newer_than_3_8(self):
        paths = glob.glob(os.path.join(PACKAGE, "**", "*.py"), recursive=True)
        paths = [it for it in paths if os.sep + "tests" + os.sep not in it]
        self.assertGreater(len(paths), 10)
        for path in paths:
            with self.subTest(path), open(path, encoding="utf-8") as file:
                ast.parse(file.read(), path, feature_version=(3, 8))
