# SPDX-License-Identifier: Apache-2.0
"""How the module is built, loaded and refused."""

import os
import pathlib
import re
import subprocess
import tarfile
import tempfile
import unittest

from module_case import ENDPOINTS, ROOT, require_asterisk

from sipheal_lab.asterisk import Asterisk, asterisk_prefix

SCRIPTS = ROOT / "patches" / "asterisk"


class Build(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        require_asterisk()
        cls.prefix = pathlib.Path(asterisk_prefix())

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def _source_tree(self):
        """The part of Asterisk's cached source that the patch could meet."""
        version = re.match(r"asterisk-(.*)-[0-9a-f]{12}$", self.prefix.name).group(1)
        sources = self.prefix.parent / "sources" / f"asterisk-{version}"
        archive = next(path for path in sources.glob("asterisk_*.orig.tar.*"))
        with tarfile.open(archive) as tar:
            for member in tar:
                parts = member.name.split("/", 1)
                if len(parts) == 2 and re.match(r"res/[^/]*\.c$", parts[1]):
                    member.name = parts[1]
                    tar.extract(member, self.folder)
        return self.folder

    def test_without_a_cached_build_cached_only_fails_and_says_what_to_do(self):
        done = subprocess.run(
            [SCRIPTS / "get-asterisk.sh", "--cached-only"], check=False, text=True,
            capture_output=True, env={**os.environ, "SIPHEAL_CACHE": str(self.folder)})
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("run get-asterisk.sh once", done.stderr)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_the_patch_form_adds_the_same_file_to_the_cached_source(self):
        tree = self._source_tree()
        self.assertTrue((tree / "res" / "res_pjsip_session.c").exists())
        patch = subprocess.run([SCRIPTS / "make-patch.sh"], capture_output=True, check=True).stdout
        for options in (["--dry-run"], []):
            subprocess.run(["patch", "-p1", *options], cwd=tree, input=patch, check=True,
                           capture_output=True)
        self.assertEqual((tree / "res" / "res_pjsip_recovery.c").read_bytes(),
                         (SCRIPTS / "res_pjsip_recovery.c").read_bytes())

    def test_the_module_says_its_version_and_is_seen_over_ari(self):
        with Asterisk("b", endpoints=ENDPOINTS) as server:
            value = server.ari("GET", "/asterisk/variable",
                               query={"variable": "PJSIP_RECOVERY_VERSION"})["value"]
            self.assertEqual(value, "4")
            module = server.ari("GET", "/asterisk/modules/res_pjsip_recovery.so")
            self.assertEqual((module["status"], module["support_level"]),
                             ("Running", "extended"))
            self.assertIn("res_pjsip_recovery.so", server.cli("module show like recovery"))
            self.assertIn("neither BYE nor", server.cli(
                "core show function PJSIP_RECOVERY_RELEASE").replace("\n", " "))
            log = server.log()
            for word in ("ERROR", "WARNING"):
                self.assertNotIn(word, log)

    def test_a_server_with_another_pjproject_is_refused(self):
        config = (self.prefix / "include/pjproject/pj/config.h").read_text()
        other = re.sub(r"(#define PJ_VERSION_NUM_MINOR\s+)\d+", r"\g<1>99", config)
        self.assertNotEqual(config, other)
        (self.folder / "pj").mkdir()
        (self.folder / "pj" / "config.h").write_text(other)
        # Searched before the -isystem folders; a cache of its own, since the key does not know.
        built = subprocess.run(
            [SCRIPTS / "build-module.sh", "--asterisk", self.prefix], check=True, text=True,
            capture_output=True,
            env={**os.environ, "CPATH": str(self.folder), "SIPHEAL_CACHE": str(self.folder)})
        module = built.stdout.strip().splitlines()[-1]
        with Asterisk("b", endpoints=ENDPOINTS, recovery=module) as server:
            self.assertIn("Not Running", server.cli("module show like recovery"))
            self.assertEqual(server.ari.request("GET", "/asterisk/variable", query={
                "variable": "PJSIP_RECOVERY_VERSION"})[1]["value"], "")
            self.assertIn("Built for pjproject 2.99", server.log())

    def test_building_twice_takes_the_module_from_the_cache(self):
        first, second = (subprocess.run([SCRIPTS / "build-module.sh"], check=True, text=True,
                                        capture_output=True) for _ in range(2))
        self.assertEqual(first.stdout, second.stdout)
        self.assertNotIn("built", second.stderr)

    def test_installing_replaces_the_file_under_a_new_inode(self):
        target = self.folder / "res_pjsip_recovery.so"
        target.write_text("old")
        with open(target, encoding="ascii") as mapped:
            subprocess.run([SCRIPTS / "build-module.sh", "--install", self.folder], check=True,
                           capture_output=True)
            self.assertEqual(mapped.read(), "old")
        self.assertGreater(target.stat().st_size, 1000)


if __name__ == "__main__":
    unittest.main()
