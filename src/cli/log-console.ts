import type { Logger } from "pino";

/** What a library writes to the console goes to the log, in its form; such lines come in one process, from its start on. */
export function logConsole(logger: Logger): void {
  for (const name of ["log", "info", "warn", "error"] as const) {
    console[name] = (...parts: unknown[]) => {
      const text = parts.map((part) => (part instanceof Error ? part.message : String(part))).join(" ");
      logger.warn(text.replace(/^\[(WARN|ERROR)\] /, ""));
    };
  }
}
