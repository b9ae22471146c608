/** The one door to standard output: waits until what was written has left, so that an exit never cuts it short. */

let isClosed = false;
const closing = new AbortController();

/** Aborts once whoever read standard output has gone (`| head`); noticed when something is written. */
export const outputClosed: AbortSignal = closing.signal;

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // A reader that has enough is no fault, and nobody is left to tell.
  if (error.code !== "EPIPE") throw error;
  isClosed = true;
  closing.abort();
});

export function writeOut(text: string): Promise<void> {
  if (isClosed) return Promise.resolve();
  return new Promise((resolve) => {
    process.stdout.write(text, () => resolve());
  });
}

export function writeLines(lines: readonly string[]): Promise<void> {
  return writeOut(lines.map((line) => `${line}\n`).join(""));
}

/** Warnings and errors. */
export function writeError(text: string): Promise<void> {
  return new Promise((resolve) => {
    process.stderr.write(text, () => resolve());
  });
}
