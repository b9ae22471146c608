/** What `holdpoint new` makes is used as whoever made it would: with make, in its own directory. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { beforeAll, describe, expect, test } from "vitest";
import { makeValue, shellWord, startCommand } from "../../src/cli/project/start-command.ts";
import { moveInto, PROJECT_FILES, writeProject } from "../../src/cli/project/write-project.ts";
import { changed } from "../support/domains.ts";
import { mainPath, runCommand, temporaryDirectory } from "../support/process.ts";
import { opaPath, projectRoot } from "../support/tools.ts";

const TEMPLATE = join(projectRoot, "src", "cli", "project", "template");

/** With opa on PATH, and nothing of the test's own environment else. */
let PATH: string;
beforeAll(() => {
  PATH = `${dirname(opaPath())}:${process.env.PATH}`;
});

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function make(directory: string, ...args: readonly string[]): Promise<Ended> {
  const child = spawn("make", ["--no-print-directory", ...args], { cwd: directory, env: { PATH } });
  const said = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    said.stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said.stderr += text;
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, ...said };
}

/** Every file of a folder with its text, by path. */
function filesOf(directory: string): Record<string, string> {
  const paths = readdirSync(directory, { recursive: true, encoding: "utf8" });
  const files = paths.filter((path) => statSync(join(directory, path)).isFile()).sort();
  return Object.fromEntries(files.map((path) => [path, readFileSync(join(directory, path), "utf8")]));
}

async function made(name: string): Promise<string> {
  const parent = temporaryDirectory();
  expect(await runCommand(["new", name], {}, parent)).toMatchObject({ code: 0, stderr: "" });
  return join(parent, name);
}

function edit(path: string, from: string, to: string): void {
  writeFileSync(path, changed(readFileSync(path, "utf8"), from, to));
}

describe("new", () => {
  test("writes every file of the template with the name put in, and says how to go on", async () => {
    const parent = temporaryDirectory();
    const { code, stdout, stderr } = await runCommand(["new", "a desk", "--name", "support-desk"], {}, parent);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const template = Object.entries(filesOf(TEMPLATE)).map(([path, text]) => [
      path === "gitignore" ? ".gitignore" : path,
      text.replaceAll("{{name}}", "support-desk").replace(/\{\{(make_)?command\}\}/g, `node ${mainPath()}`),
    ]);
    const files = filesOf(join(parent, "a desk"));
    expect(files).toEqual(Object.fromEntries(template));
    expect(Object.keys(files).sort()).toEqual([...PROJECT_FILES].sort());
    for (const text of Object.values(files)) expect(text).not.toContain("{{");
    expect(files["policy/domain.yaml"]).toContain('domain: "support-desk"\n');
    expect(files.Makefile).toContain(`\nHOLDPOINT ?= node ${mainPath()}\n`);
    expect(files[".gitignore"]).toContain("\n/data/\n");
    expect(stdout).toMatch(/^Made support-desk in \/.*\/a desk\n/);
    expect(stdout).toContain("\nNext:\n  cd 'a desk'\n  make demo\n");
    expect(readdirSync(parent)).toEqual(["a desk"]);
  });

  test("begins each file with a word on what it is for", async () => {
    const files = filesOf(await made("tasks"));
    for (const [path, text] of Object.entries(files)) expect(text, path).toMatch(/^(#|\/\/) .{5,}\n/);
  });

  test("fills an empty directory, and the one it is started in, and leaves the directory what it is", async () => {
    for (const word of ["empty", "."]) {
      const parent = temporaryDirectory();
      const directory = join(parent, "empty");
      mkdirSync(directory, { mode: 0o750 });
      const before = statSync(directory);
      const { code, stdout } = await runCommand(["new", word], {}, word === "." ? directory : parent);
      expect(code).toBe(0);
      expect(stdout).toContain(word === "." ? "\nNext:\n  make demo\n" : "\n  cd empty\n  make demo\n");
      const { ino, mode } = statSync(directory);
      expect({ ino, mode }).toEqual({ ino: before.ino, mode: before.mode });
      expect(Object.keys(filesOf(directory)).sort()).toEqual([...PROJECT_FILES].sort());
    }
  });

  test("refuses what is there already, and leaves it as it was", async () => {
    const parent = temporaryDirectory();
    mkdirSync(join(parent, "full"));
    writeFileSync(join(parent, "full", ".hidden"), "mine");
    writeFileSync(join(parent, "file"), "mine");
    symlinkSync(join(parent, "nowhere"), join(parent, "dangling"));
    const before = readdirSync(parent, { recursive: true }).sort();
    for (const [word, message] of [
      ["full", "it is there, and not empty"],
      ["file", "it is there, and no directory"],
      ["absent/tasks", `there is no ${join(parent, "absent")}`],
      ["file/tasks", `${join(parent, "file")} is no directory`],
      ["dangling", "Cannot make a project in"],
    ] as const) {
      const { code, stdout, stderr } = await runCommand(["new", word], {}, parent);
      expect({ word, code, stdout }).toEqual({ word, code: 1, stdout: "" });
      expect(stderr).toContain(message);
    }
    expect(readdirSync(parent, { recursive: true }).sort()).toEqual(before);
    expect(readFileSync(join(parent, "full", ".hidden"), "utf8")).toBe("mine");
  });

  test.each(["", ".", "..", "../x", "a/b", "-x", ".git", "a b", 'a"b', "a\nb", "ä", "x".repeat(65)])(
    "refuses %j as a name, given or the directory's",
    async (name) => {
      const parent = temporaryDirectory();
      const given = await runCommand(["new", "there", `--name=${name}`], {}, parent);
      expect(given).toMatchObject({
        code: 2,
        stdout: "",
        stderr: expect.stringContaining("expected a letter or digit"),
      });
      if (!/^$|\/|^\.+$/.test(name)) {
        const named = await runCommand(["new", `./${name}`], {}, parent);
        expect(named).toMatchObject({
          code: 2,
          stdout: "",
          stderr: expect.stringContaining("Give another one with --name"),
        });
      }
      expect(readdirSync(parent)).toEqual([]);
    },
  );

  test("takes a name of 64 characters, and one that YAML would read as something else", async () => {
    for (const name of ["x".repeat(64), "null", "1.5"]) {
      const directory = await made(name);
      const { code, stdout } = await runCommand(["domain", "check", join(directory, "policy"), "--strict"]);
      expect({ code, stdout }).toEqual({
        code: 0,
        stdout: "1 domain file, 1 entity type, 3 actions: 0 errors, 0 warnings\n",
      });
    }
  });
});

describe("the project", () => {
  test("make test and make demo do what they say, without leaving anything but .build", async () => {
    const directory = await made("tasks");
    const tested = await make(directory, "test");
    expect(tested).toMatchObject({ code: 0, stderr: "" });
    expect(tested.stdout).toContain("1 domain file, 1 entity type, 3 actions: 0 errors, 0 warnings\n");
    expect(tested.stdout).toMatch(/\nPASS: 4\/4\n/);
    expect(tested.stdout).toContain("\nOK holdpoint.yaml\n  bundle: .build/bundle.tar.gz loads");
    expect(tested.stdout).toContain("warning: admin_auth: reviewers are NOT authenticated");
    expect(tested.stdout).not.toContain("executor");

    const { code, stdout, stderr } = await make(directory, "demo");
    expect({ code, stderr, over: stdout.split("\n").at(-2) }).toEqual({
      code: 0,
      stderr: "",
      over: "Five endings, all as expected",
    });
    expect(stdout.match(/^\(\d\) \w+( \w+)*/gm)).toEqual([
      "(1) Executed",
      "(2) Held",
      "(3) Granted and executed",
      "(4) Denied",
      "(5) Blocked by state",
    ]);
    expect(stdout.match(/✓ rebuilt from its events alone, it is the same/g)).toHaveLength(5);
    expect(stdout).not.toContain("✗");
    for (const row of [
      "│ TIME event_ingested     task-board  TASK_OPENED",
      "│ TIME state_changed      assistant   ASSIGNED → DONE",
      "│ TIME approval_required  assistant   DELETE_TASK awaiting human",
      "│ TIME approval_granted   olivia      DELETE_TASK granted",
      "│ TIME action_executed    assistant   DELETE_TASK",
      "│ TIME approval_denied    olivia      DELETE_TASK denied",
      "│ TIME action_blocked     assistant   state_not_allowed",
    ])
      expect(stdout.replace(/\d\d:\d\d:\d\d\.\d{3}/g, "TIME")).toContain(row);

    expect(readdirSync(directory).sort()).toEqual(
      [".build", ...new Set(PROJECT_FILES.map((file) => file.split("/")[0]!))].sort(),
    );
    expect(await make(directory, "clean")).toMatchObject({ code: 0 });
    expect(existsSync(join(directory, ".build"))).toBe(false);
  });

  test("make demo fails where an ending is another, and goes by a policy that was changed", async () => {
    const directory = await made("tasks");
    expect(await make(directory, "bundle")).toMatchObject({ code: 0 });
    const domain = join(directory, "policy", "domain.yaml");
    edit(domain, "approval: { when: always, roles: [lead], quorum: 1, ttl_seconds: 3600 }", "approval: never");
    const { code, stdout } = await make(directory, "demo");
    expect(code).not.toBe(0);
    expect(stdout).toContain("agent asks for DELETE_TASK on task-2 → 200 task-2 is deleted\n    ✗ NOT: nothing ran\n");
    expect(stdout).toMatch(/\nNOT as expected\n$/);
  });

  test("make demo says why a sidecar does not start, and make test fails on a broken rule and a broken domain", async () => {
    const directory = await made("tasks");
    expect(await make(directory, "bundle")).toMatchObject({ code: 0 });
    const unstarted = await make(directory, "demo", "HOLDPOINT=false");
    expect(unstarted.code).not.toBe(0);
    expect(unstarted.stderr).toContain("The sidecar did not start: exit code 1");
    const absent = await make(directory, "demo", "HOLDPOINT=./absent");
    expect(absent.code).not.toBe(0);
    expect(absent.stderr).toContain("The sidecar did not start: spawn ./absent ENOENT");

    edit(join(directory, "policy", "rules.rego"), '"audit", "legal-hold"', '"audit"');
    const rules = await make(directory, "test");
    expect(rules.code).not.toBe(0);
    expect(rules.stdout).toContain("test_deny_deletion_of_a_protected_label");
    edit(join(directory, "policy", "domain.yaml"), "event: TASK_DONE", "event: TASK_DNOE");
    const domain = await make(directory, "test");
    expect(domain.code).not.toBe(0);
    expect(domain.stdout + domain.stderr).toMatch(/policy\/domain\.yaml:\d+:\d+: error: .*TASK_DNOE/);
  });

  test("make help lists the targets, and make takes another Holdpoint and another opa", async () => {
    const directory = await made("tasks");
    const help = await make(directory);
    expect(help.stdout.match(/^\w+/gm)).toEqual(["help", "test", "bundle", "demo", "run", "executor", "clean"]);
    const { stdout } = await make(directory, "-n", "bundle", "run", "HOLDPOINT=/opt/holdpoint", "OPA=/opt/opa");
    expect(stdout).toContain("/opt/holdpoint policy build policy -o .build/bundle.tar.gz --opa /opt/opa\n");
    expect(stdout).toContain("/opt/holdpoint serve --config holdpoint.yaml\n");
  });

  test("its executor runs once what comes twice, refuses what it does not know, and stays up", async () => {
    const directory = await made("tasks");
    const child = spawn(process.execPath, ["executor.mjs", "0"], {
      cwd: directory,
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
      const url = line.replace("Executor on ", "");
      const post = async (key: string | undefined, body: string) => {
        const headers = key === undefined ? {} : { "idempotency-key": key };
        const response = await fetch(url, { method: "POST", headers, body });
        return [response.status, await response.json()];
      };
      const assign = (assignee: string) =>
        JSON.stringify({ action: { name: "ASSIGN_TASK", arguments: { assignee } }, entity: { type: "task", id: "t" } });
      expect(await post("a", assign("dana"))).toEqual([200, { message: "t is given to dana" }]);
      expect(await post("a", assign("eli"))).toEqual([200, { message: "t is given to dana" }]);
      expect(await post("b", assign("eli"))).toEqual([200, { message: "t is given to eli" }]);
      expect(await post(undefined, assign("eli"))).toEqual([400, {}]);
      for (const body of ["{", "1", '{"action":{"name":"toString"}}']) expect(await post("c", body)).toEqual([400, {}]);
      for (const body of ["null", '{"action":{"name":"CLOSE_TASK"}}']) expect(await post("d", body)).toEqual([500, {}]);
      expect(await post("e", " ".repeat(1_000_001))).toEqual([413, {}]);
      expect(await post("f", assign("fay"))).toEqual([200, { message: "t is given to fay" }]);
    } finally {
      child.kill();
      await once(child, "close");
    }
  });
});

describe("writeProject()", () => {
  test("leaves nothing where it fails half-way, whether the directory was there or not", () => {
    const parent = temporaryDirectory();
    mkdirSync(join(parent, "empty"));
    for (const name of ["absent", "empty"]) {
      expect(() => writeProject(join(parent, name), { name, command: "holdpoint" })).toThrow(
        "Makefile of the template names make_command, which has no value",
      );
    }
    expect(readdirSync(parent, { recursive: true })).toEqual(["empty"]);
  });

  test("moveInto() puts back what it moved where a name is taken meanwhile", () => {
    const parent = temporaryDirectory();
    const [from, to] = [join(parent, "from"), join(parent, "to")];
    for (const folder of [join(from, "policy"), to]) mkdirSync(folder, { recursive: true });
    writeFileSync(join(from, "Makefile"), "ours");
    writeFileSync(join(from, "policy", "rules.rego"), "ours");
    writeFileSync(join(from, "x"), "ours");
    writeFileSync(join(to, "x"), "theirs");
    expect(() => moveInto(from, to)).toThrow("somebody else just made x in it");
    expect(filesOf(to)).toEqual({ x: "theirs" });
    expect(readdirSync(to)).toEqual(["x"]);
  });
});

describe("startCommand()", () => {
  const linked = (...folders: readonly string[]) => {
    const folder = join(temporaryDirectory(), ...folders);
    mkdirSync(folder, { recursive: true });
    symlinkSync(mainPath(), join(folder, "holdpoint"));
    return folder;
  };
  const byPath = () => `node ${mainPath()}`;

  test("is holdpoint where PATH leads to this very installation", () => {
    expect(startCommand({ PATH: `/nowhere::${linked()}` })).toBe("holdpoint");
    expect(startCommand({ PATH: "/nowhere" })).toBe(byPath());
    expect(startCommand({})).toBe(byPath());
  });

  test("is the path where another program of that name comes first, or npx put it there for once", () => {
    const other = temporaryDirectory();
    writeFileSync(join(other, "holdpoint"), "");
    expect(startCommand({ PATH: `${other}:${linked()}` })).toBe(byPath());
    expect(startCommand({ PATH: linked("node_modules", ".bin") })).toBe(byPath());
  });

  test("is used by new as it is found", async () => {
    const parent = temporaryDirectory();
    const folder = linked();
    const child = spawn(join(folder, "holdpoint"), ["new", "tasks"], {
      cwd: parent,
      env: { PATH: `${folder}:${process.env.PATH}` },
      stdio: "ignore",
    });
    expect(await once(child, "close")).toEqual([0, null]);
    expect(readFileSync(join(parent, "tasks", "Makefile"), "utf8")).toContain("\nHOLDPOINT ?= holdpoint\n");
    expect(basename(realpathSync(join(folder, "holdpoint")))).toBe("main.js");
  });

  test.each(["/opt/holdpoint/main.js", "a b", "it's", "$HOME", "a#b", "$(shell id)", '`id`;\\ "', ""])(
    "shellWord() and makeValue() keep %j one word, through make and a shell",
    async (text) => {
      const directory = temporaryDirectory();
      const value = makeValue(`printf '<%s>' ${shellWord(text)}`);
      writeFileSync(join(directory, "Makefile"), `WORD ?= ${value}\nall:\n\t@$(WORD)\n`);
      expect(await make(directory)).toEqual({ code: 0, stdout: `<${text}>`, stderr: "" });
    },
  );
});
