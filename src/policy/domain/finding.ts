/** What is wrong with a domain, and where: a line that editors and pipelines understand. */

/** Both from 1, as editors count. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/**
 * error: no bundle is built. warning: it works and is hardly what was meant. note: what is taken care of elsewhere.
 */
export type Severity = "error" | "warning" | "note";

export interface Finding extends Position {
  readonly file: string;
  readonly severity: Severity;
  readonly message: string;
}

/** `file:line:column: error: text`. */
export function findingLine({ file, line, column, severity, message }: Finding): string {
  return `${file}:${line}:${column}: ${severity}: ${message}`;
}

/** What one file may have found in it: the first few hundred faults of a file say what is wrong with it. */
export const FINDINGS_MAX = 500;

/** Looking for what was meant takes its time, and is done for what is told only. */
export type Message = string | (() => string);

/** Collects what is found in one file. */
export class Findings {
  readonly file: string;
  private readonly found: Finding[] = [];
  private errors = 0;

  constructor(file: string) {
    this.file = file;
  }

  error(at: Position, message: Message): void {
    this.add("error", at, message);
  }

  warn(at: Position, message: Message): void {
    this.add("warning", at, message);
  }

  note(at: Position, message: Message): void {
    this.add("note", at, message);
  }

  /** Errors found, those that the list has no place for among them. */
  get errorCount(): number {
    return this.errors;
  }

  /** In the order of the file. */
  list(): readonly Finding[] {
    return [...this.found].sort((a, b) => a.line - b.line || a.column - b.column);
  }

  private add(severity: Severity, { line, column }: Position, message: Message): void {
    if (severity === "error") this.errors++;
    // The first error is told, whatever came before it.
    if (this.found.length >= FINDINGS_MAX && !(severity === "error" && this.errors === 1)) return;
    const text = typeof message === "string" ? message : message();
    this.found.push({ file: this.file, line, column, severity, message: text });
  }
}
