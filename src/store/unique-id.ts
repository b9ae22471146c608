import { randomBytes } from "node:crypto";

const CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** A ULID: 48 bits of time, so that ids sort roughly by age, and 80 random bits, so that nobody guesses one. */
export function uniqueId(): string {
  return timeDigits(Date.now()) + randomDigits();
}

function timeDigits(ms: number): string {
  let digits = "";
  for (let rest = ms, place = 0; place < 10; place += 1, rest = Math.floor(rest / 32)) {
    digits = CROCKFORD.charAt(rest % 32) + digits;
  }
  return digits;
}

function randomDigits(): string {
  let digits = "";
  for (const byte of randomBytes(16)) digits += CROCKFORD.charAt(byte % 32);
  return digits;
}
