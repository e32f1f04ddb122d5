"""What the test cases have in common, whatever servers they use."""
import sys
import time
import unittest

from lib.wire import DEADLINE


class Case(unittest.TestCase):
    def server_logs(self):
        """The ends of the logs of a test's servers, to be shown when it fails."""
        return self._tails

    def run(self, result=None):
        before = result and len(result.failures) + len(result.errors)
        self._tails = []
        super().run(result)
        if result and len(result.failures) + len(result.errors) > before:
            sys.stderr.write("\n%s\n%s\n" % (self.id(), "\n".join(self.server_logs())))
        return result

    def wait_for(self, condition, timeout=DEADLINE, what="condition"):
        """Polls until condition() is true; returns its value."""
        deadline = time.monotonic() + timeout
        while True:
            late = time.monotonic() > deadline      # it is looked at once more behind the end of the time
            value = condition()
            if value:
                return value
            if late:
                self.fail("%s not met within %g s" % (what, timeout))
            time.sleep(0.01)                        # pause of the polling loop
