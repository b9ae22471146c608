/** ULIDs (48 bits of milliseconds, 80 random bits, Crockford base 32): ids that sort roughly by age and cannot be guessed. */
import { randomFillSync } from "node:crypto";

const DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const RANDOM_CHARS = 16;

/** Random bytes are drawn by the page: one system call serves 256 ids. */
const pool = new Uint8Array(RANDOM_CHARS * 256);
let drawn = pool.length;

let timeMs = -1;
let timeText = "";

export function ulid(): string {
  const nowMs = Date.now();
  if (nowMs !== timeMs) {
    timeMs = nowMs;
    timeText = encodeTime(nowMs);
  }
  if (drawn === pool.length) {
    randomFillSync(pool);
    drawn = 0;
  }
  let text = timeText;
  // 256 is a multiple of 32: taking five bits of each byte leaves every digit equally likely.
  for (const end = drawn + RANDOM_CHARS; drawn < end; drawn++) text += DIGITS[pool[drawn]! & 31];
  return text;
}

function encodeTime(ms: number): string {
  let text = "";
  for (let place = 0, rest = ms; place < 10; place++, rest = Math.floor(rest / 32)) text = DIGITS[rest % 32] + text;
  return text;
}
