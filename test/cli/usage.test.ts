import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { CommandError } from "../../src/cli/command.ts";
import { COMMANDS } from "../../src/cli/commands.ts";
import { commandPage } from "../../src/cli/help.ts";
import { parseCommandLine } from "../../src/cli/parse-command-line.ts";
import { cut, duration, jsonLine, jsonPretty, shown } from "../../src/cli/terminal.ts";
import { killProcesses, runCommand } from "../support/process.ts";

afterEach(killProcesses);

const errorOf = async (args: readonly string[]): Promise<CommandError> => {
  try {
    await parseCommandLine(args, COMMANDS);
  } catch (thrown) {
    if (thrown instanceof CommandError) return thrown;
    throw thrown;
  }
  throw new Error(`${args.join(" ")} was taken`);
};

describe("help", () => {
  test("lists every command, asked for in any way", async () => {
    for (const args of [["help"], ["-h"]])
      expect(await parseCommandLine(args, COMMANDS)).toEqual({ kind: "help", topic: [] });
    const { code, stdout, stderr } = await runCommand(["--help"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const { name, summary } of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${name} +${summary}`, "m"));
    expect(stdout).toContain("Exit codes: 0 done");
  });

  test("of a command shows its usage, options and examples, asked for in either way", async () => {
    const [asked, named] = await Promise.all([
      runCommand(["approvals", "grant", "--help"]),
      runCommand(["help", "approvals", "grant"]),
    ]);
    expect(asked).toMatchObject({ code: 0, stderr: "" });
    expect(asked.stdout).toBe(named.stdout);
    expect(asked.stdout).toContain("Usage: holdpoint approvals grant ID [--reason TEXT]");
    expect(asked.stdout).toContain("HOLDPOINT_KEY");
    expect((await runCommand(["help", "approvals"])).stdout).toMatch(/approvals list[\s\S]*approvals cancel/);
  });

  test("of serve says what each signal does, and of policy verify shows a case", async () => {
    const [serve, verify] = await Promise.all([
      runCommand(["serve", "--help"]),
      runCommand(["policy", "verify", "--help"]),
    ]);
    expect(serve.stdout).toContain("SIGHUP reloads configuration, policy and keys; SIGTERM and SIGINT drain");
    expect(verify.stdout).toMatch(/^ {2}- name: [\s\S]*\n {4}proposal:\n[\s\S]*\n {4}expect: \{ outcome: escalate/m);
  });

  test.each(COMMANDS)("of $name has real examples, and every option says what it is", async (listed) => {
    const command = await listed.load();
    expect(command.name).toBe(listed.name);
    const page = commandPage(listed, command);
    expect(command.examples.length).toBeGreaterThanOrEqual(2);
    expect(command.examples.length).toBeLessThanOrEqual(3);
    for (const example of command.examples) {
      expect(page).toContain(example);
      expect(example).toMatch(new RegExp(`holdpoint (${command.name}|--version)`));
    }
    for (const [name, { meaning }] of Object.entries(command.options)) {
      expect(page).toContain(`--${name}`);
      expect(meaning.length).toBeGreaterThan(3);
    }
    expect(page).toMatch(/Exit codes: 0 .*1 .*\n.*2 .*3 .*4 .*5 /);
    for (const line of page.split("\n").filter((text) => !text.startsWith("Usage: ")))
      expect(line.length, line).toBeLessThan(125);
  });

  test("version is the package's", async () => {
    const [flag, word] = await Promise.all([runCommand(["--version"]), runCommand(["version", "--json"])]);
    expect(flag).toMatchObject({ code: 0, stdout: expect.stringMatching(/^holdpoint \d+\.\d+\.\d+\n$/) });
    expect(`holdpoint ${JSON.parse(word.stdout).version}\n`).toBe(flag.stdout);
  });
});

describe("wrong usage", () => {
  test.each([
    [[], "Expected a command first"],
    [["sreve"], "Unknown command: sreve. Did you mean serve?"],
    [["serve", "now"], "Unexpected argument: now"],
    [["ledger"], "ledger needs a second word: verify, tail"],
    [["ledger", "verfy"], "Unknown command: ledger verfy. Did you mean ledger verify?"],
    [["aprovals", "list"], "Did you mean approvals list?"],
    [["serve", "--port", "1"], "Unknown option: --port"],
    [["serve", "--confg", "x"], "Unknown option: --confg. Did you mean --config?"],
    [["serve", "--config"], "--config needs a value: --config FILE"],
    [["decide", "f", "--bundle", "--json"], "--bundle needs a value: --bundle PATH"],
    [["serve", "--config", "a", "--config", "b"], "--config is given twice"],
    [["ledger", "verify", "--json=yes"], "--json takes no value"],
    [["approvals", "show"], "Expected ID"],
    [["decide", "a", "b"], "Unexpected argument: b"],
    [["decide", "a", "--__proto__", "b"], "Unknown option: --__proto__"],
    [["\u001b[2J"], 'Unknown command: "\\u001b[2J"'],
  ])("%j is refused, with what was meant", async (args, message) => {
    const error = await errorOf(args);
    expect(error.message).toContain(message);
    expect(error.exitCode).toBe(2);
  });

  test("ends with 2, says how to go on, and prints nothing on standard output", async () => {
    const { code, stdout, stderr } = await runCommand(["policy", "biuld"]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toBe(
      "holdpoint: Unknown command: policy biuld. Did you mean policy build?\n  Run holdpoint --help for the list\n",
    );
    const json = await runCommand(["decide", "--json", "--tenent", "x"]);
    expect(json).toMatchObject({ code: 2, stdout: "" });
    expect(JSON.parse(json.stderr).error).toMatchObject({
      code: "wrong_usage",
      message: expect.stringContaining("Did you mean --tenant?"),
    });
  });

  test.each([
    [["approvals", "list", "--key", "hp_secret"]],
    [["approvals", "grant", "appr_1", "--key=hp_secret"]],
    [["ledger", "tail", "--token", "hp_secret"]],
  ])("%j: a key is never an argument, and is not repeated either", async (args) => {
    const { code, stdout, stderr } = await runCommand(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain("Set HOLDPOINT_KEY, or give --key-file FILE");
    expect(stderr).not.toContain("hp_secret");
  });

  test("a short option has its value beside it or behind it", async () => {
    for (const args of [["-n", "5"], ["-n5"], ["--number=5"]])
      expect(await parseCommandLine(["ledger", "tail", ...args], COMMANDS)).toMatchObject({ options: { number: "5" } });
    expect(await parseCommandLine(["decide", "-", "--json"], COMMANDS)).toMatchObject({
      words: ["-"],
      options: { json: true },
    });
  });
});

describe("text for a terminal", () => {
  const HOSTILE = [
    ["an escape sequence", "\u001b[2J\u001b[31m", "\\u001b[2J\\u001b[31m"],
    ["a C1 control", "\u009b31m", "\\u009b31m"],
    ["a change of direction", "pay \u202e005\u202c", "pay \\u202e005\\u202c"],
    ["an isolate", "\u2066a\u2069", "\\u2066a\\u2069"],
    ["zero width", "a\u200b\u200d\ufeffb", "a\\u200b\\u200d\\ufeffb"],
    ["a soft hyphen", "a\u00adb", "a\\u00adb"],
    ["another space", "a\u00a0\u3000b", "a\\u00a0\\u3000b"],
    ["a letter that shows nothing", "a\u3164\u115f\u2800", "a\\u3164\\u115f\\u2800"],
    ["a variation selector", "a\ufe0f", "a\\ufe0f"],
    ["tags beyond the basic plane", "\u{e0041}", "\\udb40\\udc41"],
    ["a line separator", "a\u2028b", "a\\u2028b"],
    ["private use", "\ue000", "\\ue000"],
  ] as const;

  test.each(HOSTILE)("shown() and jsonLine() escape %s", (_, text, escaped) => {
    expect(shown(text)).toBe(`"${escaped}"`);
    expect(jsonLine({ a: text })).toBe(`{"a":"${escaped}"}`);
    expect(jsonPretty({ a: text })).toBe(`{\n  "a": "${escaped}"\n}`);
  });

  test("what shows what it is stays as it is", () => {
    for (const text of ["Grüße, 東京 😀", "a b", "x\\u202e", "é"]) expect(shown(text)).toBe(text);
    expect(shown("a\nb")).toBe('"a\\nb"');
    expect(shown("")).toBe('""');
  });

  test("whatever the value, its JSON means the same and holds nothing that does not show", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string({ unit: "binary" }), (value, text) => {
        const given = { [text]: value, text } as never;
        const same = JSON.parse(JSON.stringify(given));
        expect(JSON.parse(jsonLine(given))).toEqual(same);
        expect(JSON.parse(jsonPretty(given))).toEqual(same);
        expect(jsonLine(given)).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u);
        expect(shown(text)).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u);
      }),
      { seed: 7, numRuns: 300 },
    );
  });

  test("lengths and times are told in few words", () => {
    expect(cut("abc", 3)).toBe("abc");
    expect(cut("abcd", 3)).toBe("abc… (1 characters more)");
    expect([0, 59, 119, 120, 7_199, 7_200, 172_800, -5].map(duration)).toEqual([
      "0s",
      "59s",
      "119s",
      "2m",
      "119m",
      "2h",
      "2d",
      "0s",
    ]);
  });
});
