/**
 * Processes that open LMDB environments which others write: one at a time, and nobody commits meanwhile.
 *
 * LMDB (as lmdb-js 3.5 carries it) sets the shared number of the last transaction when an environment is opened, to what it
 * read from the file a moment before. A commit in between is forgotten: readers no longer see it, and the next writer puts
 * its own in its place, although it was acknowledged. So the primary has every other process hold its writes, lets the new
 * one open, and has them go on.
 */
export interface Opener {
  readonly id: number;
  /** To the process: hold your writes; you may open; go on. @param turn names the hold that is meant */
  send(word: "hold" | "open" | "resume", turn: number): void;
  /** Ends the process: it was let open, and does not. */
  end(): void;
}

export interface OpenTurns {
  /** This process would like to open. */
  asked(opener: Opener): void;
  /** It holds its writes, as that turn asked. */
  held(id: number, turn: number): void;
  /** It has opened, and may be asked to hold from now on. */
  opened(id: number): void;
  /** It has ended, whatever it was about to do. */
  gone(id: number): void;
}

/**
 * How long the others are given to finish the commits that run; then everybody goes on, and it is tried again. And how long
 * the one has to open; then it is ended, and everybody goes on.
 */
export const HOLD_WAIT_MS = 5_000;
const RETRY_MS = 500;

/** @param holdOwn holds the writes of this process; what it resolves with lets them go on */
export function createOpenTurns(
  holdOwn: () => Promise<() => void>,
  waitMs = HOLD_WAIT_MS,
  retryMs = RETRY_MS,
): OpenTurns {
  const waiting: Opener[] = [];
  const open = new Map<number, Opener>();
  /** Those that will ask again in a moment. */
  const retries = new Map<number, NodeJS.Timeout>();
  let turn: Turn | undefined;
  let lastTurn = 0;

  const next = (): void => {
    const opener = turn === undefined ? waiting.shift() : undefined;
    if (opener === undefined) return;
    const awaited = new Set(open.keys());
    const number = ++lastTurn;
    const timer = setTimeout(() => giveUp(current), waitMs);
    const current: Turn = {
      number,
      opener,
      awaited,
      asked: [...open.values()],
      timer,
      release: undefined,
      mayOpen: false,
    };
    turn = current;
    for (const other of current.asked) other.send("hold", number);
    void holdOwn().then((release) => {
      if (turn === current) current.release = release;
      else release();
      proceed(current);
    });
  };
  const proceed = (current: Turn): void => {
    if (turn !== current || current.mayOpen || current.release === undefined || current.awaited.size > 0) return;
    clearTimeout(current.timer);
    current.timer = setTimeout(() => current.opener.end(), waitMs);
    current.mayOpen = true;
    current.opener.send("open", current.number);
  };
  const end = (current: Turn): void => {
    clearTimeout(current.timer);
    turn = undefined;
    current.release?.();
    for (const other of current.asked) if (open.has(other.id)) other.send("resume", current.number);
    next();
  };
  /** Somebody's disk hangs: a worker more is not worth everybody's stop. */
  const giveUp = (current: Turn): void => {
    if (turn !== current) return;
    const { opener } = current;
    const retry = () => {
      retries.delete(opener.id);
      waiting.push(opener);
      next();
    };
    retries.set(opener.id, setTimeout(retry, retryMs));
    end(current);
  };
  return {
    asked: (opener) => {
      waiting.push(opener);
      next();
    },
    held: (id, number) => {
      if (turn?.number !== number) return;
      turn.awaited.delete(id);
      proceed(turn);
    },
    opened: (id) => {
      if (turn?.opener.id !== id) return;
      open.set(id, turn.opener);
      end(turn);
    },
    gone: (id) => {
      open.delete(id);
      clearTimeout(retries.get(id));
      retries.delete(id);
      const place = waiting.findIndex((opener) => opener.id === id);
      if (place !== -1) waiting.splice(place, 1);
      if (turn?.opener.id === id) end(turn);
      else if (turn?.awaited.delete(id) === true) proceed(turn);
    },
  };
}

interface Turn {
  readonly number: number;
  readonly opener: Opener;
  /** Those that have not said yet that they hold. */
  readonly awaited: Set<number>;
  readonly asked: readonly Opener[];
  timer: NodeJS.Timeout;
  release: (() => void) | undefined;
  mayOpen: boolean;
}
