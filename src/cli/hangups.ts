/** SIGHUP from the first moment: unheard, it would end the process. One that comes during the start counts after it. */
export interface Hangups {
  /** What to do from now on; at once, if one came already. */
  handle(act: () => void): void;
}

export function hearHangups(): Hangups {
  let act: (() => void) | undefined;
  let hasCome = false;
  process.on("SIGHUP", () => {
    hasCome = true;
    act?.();
  });
  return {
    handle: (handler) => {
      act = handler;
      if (hasCome) handler();
    },
  };
}
