/**
 * C2SP signed-note: a text, an empty line, and one line per signature, `— <name> base64(key id || signature)`.
 * Ed25519 only (algorithm byte 0x01). Keys and signing stay outside: a signer is a name, a key id and a function.
 *
 * One note has one spelling here: anything a lenient reader could take two ways is refused.
 */
import { hash } from "node:crypto";

export const NOTE_BYTES_MAX = 1_000_000;
export const NOTE_SIGNATURES_MAX = 100;

const ED25519 = 0x01;
const ED25519_KEY_BYTES = 32;
const ED25519_SIGNATURE_BYTES = 64;
const KEY_ID_BYTES = 4;
const SIGNATURE_PREFIX = "— ";

export interface NoteKey {
  readonly name: string;
  /** First 4 bytes of SHA-256(name || 0x0A || 0x01 || public key), big-endian. */
  readonly keyId: number;
}

export interface NotePublicKey extends NoteKey {
  /** Raw Ed25519 public key, 32 bytes. */
  readonly publicKey: Uint8Array;
}

export interface NoteSigner extends NoteKey {
  sign(message: Uint8Array): Uint8Array;
}

export interface NoteVerifier extends NoteKey {
  verify(message: Uint8Array, signature: Uint8Array): boolean;
}

export interface NoteSignature extends NoteKey {
  readonly signature: Uint8Array;
}

export interface SignedNote {
  /** With its final line break; the bytes that are signed. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

export type NoteVerification =
  | { readonly kind: "verified"; readonly text: string; readonly by: readonly NoteKey[] }
  | { readonly kind: "refused"; readonly reason: string };

export function noteKeyId(name: string, publicKey: Uint8Array): number {
  const input = Buffer.concat([Buffer.from(`${name}\n`, "utf8"), Buffer.of(ED25519), publicKey]);
  return hash("sha256", input, "buffer").readUInt32BE(0);
}

/** `<name>+<key id in hex>+base64(0x01 || public key)`. */
export function encodeNoteKey(name: string, publicKey: Uint8Array): string {
  if (!isNoteName(name))
    throw new RangeError(`Note key name ${JSON.stringify(name)} is empty or has white space or a plus sign`);
  if (publicKey.length !== ED25519_KEY_BYTES)
    throw new RangeError(`Ed25519 public key has ${publicKey.length} bytes, not 32`);
  const material = Buffer.concat([Buffer.of(ED25519), publicKey]).toString("base64");
  return `${name}+${hex8(noteKeyId(name, publicKey))}+${material}`;
}

export function parseNoteKey(text: string): NotePublicKey | undefined {
  const [name, id, ...rest] = text.split("+");
  if (name === undefined || id === undefined || rest.length === 0) return undefined;
  // Base64 itself may contain plus signs, so everything after the second one is key material.
  const material = decodeBase64(rest.join("+"));
  if (!isNoteName(name) || !/^[0-9a-f]{8}$/.test(id) || material === undefined) return undefined;
  if (material.length !== 1 + ED25519_KEY_BYTES || material[0] !== ED25519) return undefined;
  const publicKey = material.subarray(1);
  const keyId = noteKeyId(name, publicKey);
  return hex8(keyId) === id ? { name, keyId, publicKey } : undefined;
}

/** @param text must end in a line break and hold no other control characters */
export function signNote(text: string, signers: readonly NoteSigner[]): string {
  const fault = textFault(text);
  if (fault !== undefined) throw new RangeError(`Cannot sign note: ${fault}`);
  const message = Buffer.from(text, "utf8");
  return `${text}\n${signers.map((signer) => signatureLine(signer, signer.sign(message))).join("")}`;
}

function signatureLine(key: NoteKey, signature: Uint8Array): string {
  if (!isNoteName(key.name)) throw new RangeError(`Cannot sign note: bad key name ${JSON.stringify(key.name)}`);
  const bytes = Buffer.alloc(KEY_ID_BYTES + signature.length);
  bytes.writeUInt32BE(key.keyId, 0);
  bytes.set(signature, KEY_ID_BYTES);
  return `${SIGNATURE_PREFIX}${key.name} ${bytes.toString("base64")}\n`;
}

/** The note's parts, or why it is not a note. Checks no signature. */
export function parseNote(note: string | Uint8Array): SignedNote | { readonly fault: string } {
  const whole = decodeNote(note);
  if (typeof whole !== "string") return whole;
  const fault = textFault(whole);
  if (fault !== undefined) return { fault };
  const split = whole.lastIndexOf("\n\n");
  if (split < 0) return { fault: "no empty line before the signatures" };
  const lines = whole.slice(split + 2, -1).split("\n");
  if (lines.length > NOTE_SIGNATURES_MAX) return { fault: `more than ${NOTE_SIGNATURES_MAX} signatures` };
  const signatures: NoteSignature[] = [];
  for (const line of lines) {
    const signature = parseSignatureLine(line);
    if (signature === undefined) return { fault: `malformed signature line ${JSON.stringify(line.slice(0, 80))}` };
    signatures.push(signature);
  }
  return { text: whole.slice(0, split + 1), signatures };
}

function decodeNote(note: string | Uint8Array): string | { readonly fault: string } {
  if (note.length > NOTE_BYTES_MAX) return { fault: `longer than ${NOTE_BYTES_MAX} bytes` };
  if (typeof note === "string") return note.isWellFormed() ? note : { fault: "ill-formed Unicode" };
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(note);
  } catch {
    return { fault: "not UTF-8" };
  }
}

function textFault(text: string): string | undefined {
  if (!text.endsWith("\n")) return "text does not end in a line break";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the format forbids ASCII control characters but newline
  if (/[\u0000-\u0009\u000b-\u001f]/.test(text)) return "control character in the text";
  return text.isWellFormed() ? undefined : "ill-formed Unicode";
}

function parseSignatureLine(line: string): NoteSignature | undefined {
  if (!line.startsWith(SIGNATURE_PREFIX)) return undefined;
  const [name, encoded, ...rest] = line.slice(SIGNATURE_PREFIX.length).split(" ");
  if (name === undefined || encoded === undefined || rest.length > 0 || !isNoteName(name)) return undefined;
  const bytes = decodeBase64(encoded);
  if (bytes === undefined || bytes.length <= KEY_ID_BYTES) return undefined;
  return { name, keyId: bytes.readUInt32BE(0), signature: bytes.subarray(KEY_ID_BYTES) };
}

/**
 * At least one known key must have signed, and every signature that claims a known key must hold. Signatures by
 * unknown keys are ignored, as the format asks: they are how witnesses are added.
 */
export function verifyNote(note: string | Uint8Array, verifiers: readonly NoteVerifier[]): NoteVerification {
  const parsed = parseNote(note);
  if ("fault" in parsed) return { kind: "refused", reason: parsed.fault };
  const message = Buffer.from(parsed.text, "utf8");
  const by: NoteKey[] = [];
  for (const { name, keyId, signature } of parsed.signatures) {
    const verifier = verifiers.find((known) => known.name === name && known.keyId === keyId);
    if (verifier === undefined) continue;
    if (by.some((seen) => seen.name === name && seen.keyId === keyId))
      return { kind: "refused", reason: `two signatures by ${name}` };
    if (signature.length !== ED25519_SIGNATURE_BYTES || !verifier.verify(message, signature)) {
      return { kind: "refused", reason: `signature by ${name} does not hold` };
    }
    by.push({ name, keyId });
  }
  if (by.length === 0) return { kind: "refused", reason: "no signature by a known key" };
  return { kind: "verified", text: parsed.text, by };
}

function isNoteName(name: string): boolean {
  return name.length > 0 && name.isWellFormed() && !/[\s+]/u.test(name);
}

/** Standard alphabet, padded, and only the one spelling that encoding gives back. */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.length > 0 && bytes.toString("base64") === text ? bytes : undefined;
}

function hex8(value: number): string {
  return value.toString(16).padStart(8, "0");
}
