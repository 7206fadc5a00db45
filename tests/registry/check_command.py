# SPDX-License-Identifier: Apache-2.0
"""Tests of the `tengen` command as a user meets it: exit codes, tables, JSON.

usage: check_command.py TENGEN TEST_PLUGIN_DIR
"""

import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import unittest

TENGEN, PLUGINS = sys.argv[1], sys.argv[2]


def environment(home, **more):
    env = {"PATH": os.environ["PATH"], "HOME": home, "XDG_CACHE_HOME": home, "TENGEN_PROBE_TIMEOUT": "30"}
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LD_LIBRARY_PATH", "LSAN_OPTIONS"):
        if name in os.environ:
            env[name] = os.environ[name]
    env.update(more)
    return env


class Command(unittest.TestCase):
    def setUp(self):
        self.home = tempfile.TemporaryDirectory()
        self.addCleanup(self.home.cleanup)

    def run_tengen(self, *words, code=0, **env):
        done = subprocess.run([TENGEN, *words], capture_output=True, text=True, timeout=300, cwd=self.home.name,
                              env=environment(self.home.name, **env))
        self.assertEqual(done.returncode, code, f"{words}: {done.stdout}\n{done.stderr}")
        self.assertNotIn("\033", done.stdout, "a pipe gets no colours")
        self.err = done.stderr
        return done.stdout

    def json(self, *words, code=0, **env):
        return json.loads(self.run_tengen(*words, "--json", code=code, **env))

    # ---- nothing is loaded -----------------------------------------------------------------------------------------

    def test_usage(self):
        self.run_tengen(code=2)
        self.run_tengen("fly", code=2)
        self.run_tengen("kernels", "--dtype", "float32", code=2)
        self.assertIn("expected a dtype", self.err)
        self.assertIn("plugins", self.run_tengen("--help"))
        self.assertIn("ABI 0.9", self.run_tengen("--version"))

    def test_plugins_without_loading(self):
        rows = {r["name"]: r for r in self.json("plugins", TENGEN_PLUGIN_PATH=PLUGINS)}
        self.assertEqual(rows["t_good"]["status"], "found")
        self.assertEqual(rows["t_crash_query"]["status"], "found", "listing runs no plugin code")
        self.assertFalse(rows["t_crash_query"]["tried"])
        self.assertTrue(rows["t_good"]["usable"])
        self.assertEqual(rows["t_good"]["kernels"], 3)
        self.assertEqual(rows["t_devices"]["devices"], ["toy"])
        text = self.run_tengen("plugins", TENGEN_PLUGIN_PATH=PLUGINS)
        lines = text.splitlines()
        self.assertTrue(lines[0].startswith("NAME"))
        self.assertEqual(lines[0].index("STATUS"), next(li for li in lines if li.startswith("t_good ")).index("found"))

    def place(self, *names):
        """A directory with these test plugins."""
        place = tempfile.mkdtemp(dir=self.home.name)
        for name in names:
            for file in (f"libtengen_{name}.so", f"{name}.plugin.json"):
                shutil.copy(os.path.join(PLUGINS, file), place)
        return place

    def test_what_a_refused_load_found_is_remembered(self):
        place = self.place("t_good", "t_crash_query", "t_hang_open", "t_open_fails")
        env = {"TENGEN_PLUGIN_PATH": place, "TENGEN_PROBE_TIMEOUT": "2"}
        self.run_tengen("plugins", **env)
        self.assertIn("not been tried on this machine yet", self.err)
        self.json("devices", **env)  # loads, and so tries
        rows = {r["name"]: r for r in self.json("plugins", **env)}
        self.assertEqual(rows["t_crash_query"]["status"], "probe failed")
        self.assertIn("signal 11", rows["t_crash_query"]["reason"])
        self.assertIn("did not return from open within 2 s", rows["t_hang_open"]["reason"])
        self.assertFalse(rows["t_crash_query"]["usable"] or rows["t_hang_open"]["usable"])
        self.assertTrue(rows["t_good"]["usable"] and rows["t_good"]["tried"])
        text = self.run_tengen("plugins", "t_crash_query", code=1, **env)
        self.assertIn("signal 11", text)
        rows = self.json("kernels", "--plugin", "t_crash_query", code=1, **env)
        self.assertEqual(rows, [])
        problems = {r["text"].split(" ")[0]: r["text"] for r in self.json("doctor", code=1, **env) if r["result"] == "wrong"}
        self.assertIn("signal 11", problems["t_crash_query"])
        self.assertIn("did not return", problems["t_hang_open"])
        self.assertIn("no toy driver", problems["t_open_fails"])
        self.assertNotIn("t_good", problems)
        rows = self.json("doctor", code=1, TENGEN_PLUGIN_PATH=self.place("t_crash_open"))  # found by doctor's own loading
        self.assertTrue([r for r in rows if r["result"] == "wrong" and "t_crash_open" in r["text"]])

    def test_devices_rank_by_their_plugins(self):
        env = {"TENGEN_PLUGIN_PATH": self.place("t_devices", "t_devices_b")}

        def default(**more):
            rows = self.json("devices", **env, **more)
            self.assertEqual({r["name"] for r in rows if r["kind"] == "toy"},
                             {"toy:0", "toy:1", "toy@t_devices_b:0", "toy@t_devices_b:1"})
            return [r["name"] for r in rows if r["default"]]
        self.assertEqual(default(), ["toy:0"])
        self.assertIn("the first of 4 (by name)", self.run_tengen("devices", **env))
        self.assertEqual(default(TENGEN_PLUGIN="t_devices_b"), ["toy@t_devices_b:0"])
        self.assertIn("pinned by the user", self.run_tengen("devices", TENGEN_PLUGIN="t_devices_b", **env))
        self.assertEqual(default(TENGEN_DEVICE="toy@t_devices:1"), ["toy:1"], "the first provider's have the long name, too")
        self.assertEqual(default(TENGEN_DEVICE="toy@t_devices_b:1"), ["toy@t_devices_b:1"])
        self.assertEqual(default(TENGEN_DEVICE="toy"), ["toy:0"])
        self.run_tengen("devices", TENGEN_DEVICE="toy@t_devices_c:0", code=2, **env)
        for name in ("toy:0", "toy@t_devices_b:1", "cpu:0"):
            self.assertIn(name, self.err)

    def test_plugins_probe(self):
        rows = {r["name"]: r for r in self.json("plugins", "--probe", TENGEN_PLUGIN_PATH=PLUGINS, TENGEN_PROBE_TIMEOUT="2")}
        self.assertEqual(rows["t_crash_query"]["status"], "probe failed")
        self.assertEqual(rows["t_hang_open"]["status"], "probe failed")
        self.assertIn("no toy driver", rows["t_open_fails"]["reason"])
        self.assertEqual([d["name"] for d in rows["t_devices"]["probed"]], ["Toy 0", "Toy 1"])

    def test_one_plugin(self):
        text = self.run_tengen("plugins", "t_devices", TENGEN_PLUGIN_PATH=PLUGINS)
        for part in ("toy: a device of the tests", "Apache-2.0", "copy (2), map"):
            self.assertIn(part, text)
        self.run_tengen("plugins", "nobody", code=1)
        self.assertIn("no plugin is named 'nobody'", self.err)

    def test_broken_plugin_keeps_its_reason(self):
        with open(os.path.join(self.home.name, "libtengen_junk.so"), "w") as f:
            f.write("junk")
        rows = {r["name"]: r for r in self.json("plugins", "junk", code=1, TENGEN_PLUGIN_PATH=self.home.name)}
        self.assertIn("is not an ELF file", rows["junk"]["reason"])
        self.assertFalse(rows["junk"]["usable"])

    def test_kernels(self):
        both = self.json("kernels", "--plugin", "t_good", TENGEN_PLUGIN_PATH=PLUGINS)
        self.assertEqual([r["op"] for r in both], ["copy", "copy", "map"])
        self.assertEqual(both[2]["cpu_missing"], "no_such_feature")
        self.assertEqual(both[2]["opcodes"], ["add"])
        few = self.json("kernels", "--plugin", "t_good", "--op", "copy", "--dtype", "f64", TENGEN_PLUGIN_PATH=PLUGINS)
        self.assertEqual([r["name"] for r in few], ["t_good.copy_any"])
        self.run_tengen("kernels", "--op", "nothing", code=1, TENGEN_PLUGIN_PATH=PLUGINS)
        self.run_tengen("kernels", "--plugin", "nobody", code=1)

    def test_rows_that_no_call_asks_for(self):
        sentences = ("rows for 'sofmax' are never asked for: this version has no such op; did you mean 'softmax'?",
                     "rows for 'add' are never asked for: the op is a program of opcodes, which rows for 'map' run")
        rows = {r["name"]: r for r in self.json("plugins", TENGEN_PLUGIN_PATH=PLUGINS)}
        for sentence in sentences:
            self.assertIn(sentence, rows["t_misspelt"]["notes"])
            for words in (("plugins",), ("kernels",), ("kernels", "--plugin", "t_misspelt")):
                self.run_tengen(*words, TENGEN_PLUGIN_PATH=PLUGINS)
                self.assertIn(f"warning: plugin t_misspelt: {sentence}", self.err)
        for name, row in rows.items():
            if name != "t_misspelt":
                self.assertFalse([n for n in row["notes"] if "never asked" in n], name)
        self.run_tengen("kernels", "--plugin", "t_good", TENGEN_PLUGIN_PATH=PLUGINS)
        self.assertNotIn("never asked", self.err)
        self.assertIn("'sofmax'", self.run_tengen("plugins", "t_misspelt", TENGEN_PLUGIN_PATH=PLUGINS))

    def test_a_directory_named_twice_is_listed_once(self):
        link = os.path.join(self.home.name, "link")
        os.symlink(PLUGINS, link)
        once = self.json("plugins", TENGEN_PLUGIN_PATH=PLUGINS)
        self.assertEqual(self.json("plugins", TENGEN_PLUGIN_PATH=f"{PLUGINS}:{link}:{PLUGINS}/"), once)
        own = os.path.dirname([r["library"] for r in once if r["name"] == "reference"][0])
        names = [r["name"] for r in self.json("plugins", TENGEN_PLUGIN_PATH=own)]
        self.assertEqual(len(names), len(set(names)))

    def test_terminal_gets_colours_and_its_width(self):
        try:
            for end in pty.openpty():
                os.close(end)
        except OSError as error:
            self.skipTest(f"never here: this machine offers no pseudo-terminal ({error})")

        def on_terminal(**more):
            master, slave = pty.openpty()
            child = subprocess.Popen([TENGEN, "plugins"], stdout=slave, env=environment(
                self.home.name, TENGEN_PLUGIN_PATH=PLUGINS, TERM="xterm", COLUMNS="100", **more))
            os.close(slave)
            text = b""
            while True:
                try:
                    piece = os.read(master, 4096)
                except OSError:
                    break
                if not piece:
                    break
                text += piece
            child.wait()
            os.close(master)
            return text.decode()
        self.assertIn("\033[32mfound\033[0m", on_terminal())
        plain = on_terminal(NO_COLOR="1")
        self.assertNotIn("\033", plain)
        self.assertLessEqual(max(len(line.rstrip()) for line in plain.splitlines() if "/" not in line), 100)

    # ---- the runtime, on this build's own plugins ------------------------------------------------------------------

    def test_devices(self):
        rows = self.json("devices")
        self.assertEqual([r["name"] for r in rows if r["default"]], ["cpu:0"])
        self.assertTrue(rows[0]["usable"])
        self.assertIn("chosen: cpu:0", self.run_tengen("devices"))

    def test_ops(self):
        rows = {r["name"]: r for r in self.json("ops")}
        self.assertIn("add", rows)
        self.assertEqual(rows["add"]["kernel"], "map")
        self.assertEqual(len(self.json("ops", "add")), 1)
        self.assertIn("add(", self.run_tengen("ops", "add"))
        self.run_tengen("ops", "ad", code=1)
        self.assertIn("ad", self.err)

    def test_coverage(self):
        rows = {r["op"]: r for r in self.json("coverage")}
        self.assertEqual(rows["add"]["reference"], "kernel")
        self.assertIn("reference has kernels for", self.run_tengen("coverage"))

    def test_why(self):
        answer = self.json("why", "add", "--shape", "64x64", "--shape", "64")
        self.assertEqual(answer["verdict"], "kernel")
        chosen = [c for c in answer["candidates"] if c["chosen"]]
        self.assertTrue(chosen)
        self.assertTrue(all(c["reason"] for c in answer["candidates"] if not c["ok"]), "a refusal gives its reason")
        pinned = self.json("why", "add", "--shape", "4", "--shape", "4:f32", TENGEN_PLUGIN="reference")
        self.assertEqual([c["plugin"] for c in pinned["candidates"] if c["chosen"]], ["reference"])
        for words in (["nosuchop"], ["add", "--shape", "4"], ["add", "--shape", "4q", "--shape", "4"],
                      ["add", "--shape", "4", "--shape", "4", "--attr", "x=1"],
                      ["add", "--shape", "4", "--shape", "4", "--dtype", "float99"],
                      ["add", "--shape", "4", "--shape", "5"],
                      ["add", "--shape", "4", "--shape", "4", "--device", "warp:0"]):
            self.run_tengen("why", *words, code=2)
            self.assertTrue(self.err.startswith("tengen: "), self.err)

    def test_why_leaves_out_what_the_user_does(self):
        words = ("why", "add", "--shape", "4", "--shape", "4")
        candidates = self.json(*words, TENGEN_PLUGIN="only:reference")["candidates"]
        self.assertEqual([c["plugin"] for c in candidates if c["ok"]], ["reference"])
        for c in candidates:
            if c["plugin"] == "cpu":
                self.assertEqual(c["reason"], "left out: TENGEN_PLUGIN=only:reference names others")
        self.run_tengen(*words, code=1, TENGEN_PLUGIN="only:nobody")
        self.assertIn("TENGEN_PLUGIN names nobody", self.err)
        self.assertEqual(self.json("devices", TENGEN_PLUGIN="only:reference")[0]["reason"], "kernels from reference")
        chaos = [d for d in self.json("devices", TENGEN_PLUGIN="only:reference") if d["kind"] == "chaos"]
        for d in chaos:
            self.assertFalse(d["usable"])
            self.assertIn("leaves no plugin with kernels for it", d["reason"])

    def test_why_shows_every_step(self):
        words = ("why", "softmax", "--shape", "4x8")
        answer = self.json(*words, TENGEN_PLUGIN="only:reference")
        self.assertEqual(answer["verdict"], "decomposition")
        steps = answer["steps"]
        self.assertGreaterEqual(len(steps), 3)
        for s in steps:
            self.assertGreaterEqual(s["count"], 1)
            if s["how"] == "decomposition":
                continue
            chosen = [c for c in s["candidates"] if c["chosen"]]
            self.assertEqual(len(chosen), 1, s)
            self.assertTrue(s["how"].startswith("reference/"), s)
        self.assertIn("floor_reduce", [s["op"] for s in steps])
        text = self.run_tengen(*words, TENGEN_PLUGIN="only:reference")
        self.assertIn("--all shows", text)
        self.assertIn("reference/", text)
        self.assertNotIn("chosen: ranks first", text)
        self.assertIn("chosen: ranks first", self.run_tengen(*words, "--all", TENGEN_PLUGIN="only:reference"))

    def test_doctor(self):
        rows = self.json("doctor")
        self.assertNotIn("wrong", [r["result"] for r in rows])
        self.assertIn("all is well", self.run_tengen("doctor"))
        self.assertIn("nobody", self.run_tengen("doctor", code=1, TENGEN_PLUGIN="nobody"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
