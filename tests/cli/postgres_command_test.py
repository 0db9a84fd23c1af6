# SPDX-License-Identifier: Apache-2.0
"""The command `sipheal` with its sessions in a real PostgreSQL. No media server needed.

SIPHEAL_COMMAND names the program. Skips loudly without a PostgreSQL server.
"""

import json
import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support" / "python"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from command_test import CommandCase, Daemon  # noqa: E402
from sipheal_lab.postgres import Postgres, require_postgres  # noqa: E402


class PostgresCommandTest(CommandCase):
    @classmethod
    def setUpClass(cls):
        require_postgres()
        cls.server = Postgres().start()
        cls.addClassCleanup(cls.server.close)

    def setUp(self):
        super().setUp()
        self.schema = self._testMethodName.lower()[:60]
        self.use(self.server.dsn())

    def use(self, dsn, control="control.sock"):
        self.write(store={"postgres": dsn, "schema": self.schema},
                   control={"socket": str(self.folder / control)})

    def test_two_controllers_share_one_schema(self):
        with Daemon(self.config) as first:
            first.event("ready")
            self.use(self.server.dsn(), "second.sock")
            with Daemon(self.config) as second:
                second.event("ready")
                self.assertEqual(self.ask("sessions")["sessions"], [])
        versions = self.server.query(f"SELECT version FROM {self.schema}.sipheal_version")
        self.assertEqual(versions, sorted(set(versions)))  # each migration once

    def test_a_look_without_a_daemon_reads_the_schema_and_makes_none(self):
        done = self.sipheal("status", "--config", str(self.config))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f"no store at PostgreSQL, schema {self.schema}", done.stderr)
        there = f"SELECT count(*) FROM pg_namespace WHERE nspname = '{self.schema}'"
        self.assertEqual(self.server.query(there), ["0"])
        with Daemon(self.config) as daemon:
            daemon.event("ready")
        status = self.ask("status")
        self.assertIs(status["daemon"], False)
        self.assertEqual(status["store"], f"PostgreSQL, schema {self.schema}")

    def conformance(self, *words):
        done = self.sipheal("--format", "json", "conformance", *words)
        return done, json.loads(done.stdout) if done.stdout else None

    def scratch_schemas(self):
        return self.server.query(
            "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'sipheal_conformance%'")

    def test_the_contracts_are_asked_of_a_live_server_and_nothing_is_left_there(self):
        for words, cases, skipped in (
                (("session-store", "--postgres", self.server.dsn()), 31,
                 {"LostConnectionIsUnavailable"}),
                (("sip-capture", "--homer-postgres", self.server.dsn()), 8,
                 {"LostSourceIsUnavailable"})):
            with self.subTest(suite=words[0]):
                done, report = self.conformance(*words)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertEqual(report["broken"], 0)
                self.assertEqual(len(report["cases"]), cases)
                self.assertEqual({case["name"] for case in report["cases"]
                                  if case["result"] == "skipped"}, skipped, report)
                self.assertEqual(self.scratch_schemas(), [])

    def test_a_server_that_takes_no_writes_fails(self):
        self.server.query("ALTER SYSTEM SET default_transaction_read_only = on")
        self.server.query("SELECT pg_reload_conf()")
        self.addCleanup(self.server.query, "SELECT pg_reload_conf()")
        self.addCleanup(self.server.query, "ALTER SYSTEM RESET default_transaction_read_only")
        done, report = self.conformance("session-store", "--postgres", self.server.dsn())
        self.assertEqual(done.returncode, 1)
        self.assertIn("read-only", report["error"])

    def test_conformance_of_a_server_that_is_not_there_fails_and_keeps_the_password(self):
        done, report = self.conformance(
            "session-store", "--postgres", "host=127.0.0.1 port=1 user=a password=s3cret")
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot be reached", report["error"])
        self.assertNotIn("s3cret", done.stdout + done.stderr)

    def test_says_what_is_wrong_with_the_server_and_keeps_the_password(self):
        for dsn, words in ((self.server.dsn().replace("dbname=postgres", "dbname=nowhere"),
                            "make the database"),
                           ("host=127.0.0.1 port=1 password=s3cret", "is it running there"),
                           ("host=a password='s3cret", "libpq's form")):
            with self.subTest(dsn):
                self.use(dsn)
                done = self.sipheal("run", "--config", str(self.config))
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn("store.postgres", done.stderr)
                self.assertIn(words, done.stderr)
                self.assertNotIn("s3cret", done.stderr)
        shown = self.sipheal("run", "--config", str(self.config), "--print-config")
        self.assertNotIn("s3cret", shown.stdout)


if __name__ == "__main__":
    unittest.main()
