/** Prints the story, with colour on a terminal, and keeps count of what was as expected. */
import type { WriteStream } from "node:tty";

const COLOURS = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;

export class Stage {
  readonly #out: WriteStream;
  readonly #endings = new Map<number, boolean>();
  #current = 0;

  constructor(out: WriteStream) {
    this.#out = out;
  }

  ending(number: number, title: string): void {
    this.#current = number;
    this.#endings.set(number, true);
    this.#line(`\n${this.colour("bold", `(${number}) ${title}`)}`);
  }

  expect(what: string, holds: boolean): void {
    if (!holds) this.#endings.set(this.#current, false);
    this.#line(`    ${holds ? this.colour("green", "✓") : this.colour("red", "✗ NOT")} ${what}`);
  }

  say(text: string): void {
    this.#line(`    ${text}`);
  }

  record(text: string): void {
    this.#line(this.colour("dim", `      │ ${text}`));
  }

  outcome(outcome: string): string {
    const colour = { allow: "green", compute: "cyan", escalate: "yellow", deny: "red" } as const;
    return this.colour(colour[outcome as keyof typeof colour] ?? "red", outcome.toUpperCase());
  }

  colour(name: keyof typeof COLOURS, text: string): string {
    return this.#out.isTTY ? `\u001b[${COLOURS[name]}m${text}\u001b[0m` : text;
  }

  fail(error: Error): void {
    this.#endings.set(this.#current, false);
    this.#line(this.colour("red", `\n${error.stack ?? error.message}`));
  }

  /** The exit code: 0 only if every one of the endings was as expected. */
  finish(expected: number): number {
    const reached = [...this.#endings.values()].filter((holds) => holds).length;
    const isWhole = reached === expected;
    this.#line(`\n${this.colour(isWhole ? "green" : "red", `${reached} of ${expected} endings as expected`)}`);
    return isWhole ? 0 : 1;
  }

  #line(text: string): void {
    this.#out.write(`${text}\n`);
  }
}
