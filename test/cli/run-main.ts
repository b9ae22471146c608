/** The command line with something on its standard input, or with somebody at its standard output who goes away. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { type CommandResult, environmentOf, mainPath, runCommand } from "../support/process.ts";

export async function runWithInput(
  args: readonly string[],
  input: string | Uint8Array,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<CommandResult> {
  const child = spawn(process.execPath, [mainPath(), ...args], { env: environmentOf(settings), cwd: tmpdir() });
  const said = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => {
    said.stdout += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    said.stderr += chunk.toString();
  });
  child.stdin.end(input);
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return { code, signal, ...said };
}

/** Reads the first bytes and hangs up, as `| head` does. */
export async function runAndHangUp(
  args: readonly string[],
  settings: Readonly<Record<string, unknown>> = {},
): Promise<{ readonly code: number | null; readonly first: string; readonly stderr: string }> {
  const child = spawn(process.execPath, [mainPath(), ...args], {
    env: environmentOf(settings),
    cwd: tmpdir(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr!.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const [first] = (await once(child.stdout!, "data")) as [Buffer];
  child.stdout!.destroy();
  const [code] = (await once(child, "exit")) as [number | null];
  return { code, first: first.toString(), stderr };
}

/** A run that must succeed with one JSON document and nothing on standard error. */
// biome-ignore lint/suspicious/noExplicitAny: answers are checked by the tests, member by member
export async function runJson(args: readonly string[], settings: Readonly<Record<string, unknown>> = {}): Promise<any> {
  const { code, stdout, stderr } = await runCommand([...args, "--json"], settings);
  if (code !== 0 || stderr !== "") throw new Error(`${args.join(" ")} ended with ${code}: ${stderr}`);
  return JSON.parse(stdout);
}
